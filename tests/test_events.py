"""Exports of BORIS and ELAN, tables and lists: each becomes the same events."""

from __future__ import annotations

from pathlib import Path

import pytest

from actionrec.data.own.events import FORMATS, guess_format, read_events

OLD_BORIS = """\
Observation id\tobs 1\t\t\t\t\t\t\t
\t\t\t\t\t\t\t\t
Media file(s)\t\t\t\t\t\t\t\t
Player #1\tC:\\lab\\fox 1.mp4\t\t\t\t\t\t\t
Observation date\t2019-01-02 10:00:00\t\t\t\t\t\t\t
Time offset (s)\t10.0\t\t\t\t\t\t\t
variable\tvalue\t\t\t\t\t\t\t
weather\tdry\t\t\t\t\t\t\t
Time\tMedia file path\tTotal length\tFPS\tSubject\tBehavior\tBehavioral category\tComment\tStatus
11.500\tC:\\lab\\fox 1.mp4\t60.0\t25.0\tred\tWalk\t\t\tSTART
12.000\tC:\\lab\\fox 1.mp4\t60.0\t25.0\tNo focal subject\tBark\t\tloud, twice\tPOINT
14.250\tC:\\lab\\fox 1.mp4\t60.0\t25.0\tred\tWalk\t\t\tSTOP
"""
NEW_BORIS = """\
Observation id,Observation date,Description,Observation duration,Observation type,Source,\
Time offset (s),Media duration (s),FPS,weather,Subject,Behavior,Behavioral category,Modifier #1,\
Behavior type,Time,Media file name,Image index,Image file path,Comment
obs 1,2024-05-02 10:00:00,,60.0,Media file(s),player #1:/lab/fox 1.mp4,0,60.000,25.000,dry,red,\
Walk,Moving,fast,START,1.500,/lab/fox 1.mp4,37,NA,
obs 1,2024-05-02 10:00:00,,60.0,Media file(s),player #1:/lab/fox 1.mp4,0,60.000,25.000,dry,red,\
Walk,Moving,slow,START,1.600,/lab/fox 1.mp4,40,NA,
obs 1,2024-05-02 10:00:00,,60.0,Media file(s),player #1:/lab/fox 1.mp4,0,60.000,25.000,dry,,\
Bark,,,POINT,2.000,/lab/fox 1.mp4,50,NA,"a comma, a
line"
obs 1,2024-05-02 10:00:00,,60.0,Media file(s),player #1:/lab/fox 1.mp4,0,60.000,25.000,dry,red,\
Walk,Moving,fast,STOP,4.250,/lab/fox 1.mp4,106,NA,
obs 1,2024-05-02 10:00:00,,60.0,Media file(s),player #1:/lab/fox 1.mp4,0,60.000,25.000,dry,red,\
Walk,Moving,slow,STOP,5.000,/lab/fox 1.mp4,125,NA,
"""
OLD_AGGREGATED = """\
Observation id\tObservation date\tDescription\tMedia file\tTotal length\tFPS\tSubject\tBehavior\t\
Behavioral category\tModifiers\tBehavior type\tStart (s)\tStop (s)\tDuration (s)\tComment start\t\
Comment stop
obs 1\t2016-12-01\t\tfox 1.mp4\t60.0\t25.0\tred\tWalk\t\t\tSTATE\t1.500\t4.250\t2.750\t\t
obs 1\t2016-12-01\t\tfox 1.mp4\t60.0\t25.0\tNo focal subject\tBark\t\t\tPOINT\t2.000\t2.000\tNA\t\t
"""
NEW_AGGREGATED = """\
Observation id;Observation date;Description;Observation type;Source;Time offset (s);\
Coding duration;Media duration (s);FPS (frame/s);Subject;\
Observation duration by subject by observation;Behavior;Behavioral category;Behavior type;\
Start (s);Stop (s);Duration (s);Media file name;Image index start;Image index stop;\
Image file path start;Image file path stop;Comment start;Comment stop
obs 1;2024;;Media file;player #1:fox 1.mp4;0;60;60.0;25.0;red;2.75;Walk;Moving;STATE;\
1,500;4,250;2,750;fox 1.mp4;37;106;NA;NA;;
obs 1;2024;;Media file;player #1:fox 1.mp4;0;60;60.0;25.0;;2.75;Bark;;POINT;\
2,000;NA;NA;fox 1.mp4;50;50;NA;NA;;
"""
BOTH = [("fox 1.mp4", 1.5, 4.25, "Walk", "red"), ("fox 1.mp4", 2.0, 2.0, "Bark", "")]


def write(folder: Path, text: str, name: str = "export.txt") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


def events(path: Path, name: str | None = None) -> list[tuple]:
    """The events in the order of their start, with the video's file name alone."""
    found = [
        (e.video.replace("\\", "/").split("/")[-1], e.start_sec, e.stop_sec, e.behaviour, e.subject)
        for e in read_events(path, name)
    ]
    return sorted(found, key=lambda e: (e[0], e[1] or 0, e[3], e[2] or 0))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (OLD_BORIS, "boris-tabular"),
        (OLD_AGGREGATED, "boris-aggregated"),
        (NEW_AGGREGATED, "boris-aggregated"),
        (OLD_AGGREGATED.replace("\t", ","), "boris-aggregated"),
    ],
)
def test_every_boris_export_gives_the_same_events(tmp_path, text, name):
    path = write(tmp_path, text)
    assert guess_format(path)[0] == name
    assert events(path) == events(path, name) == BOTH


def test_boris_pairs_by_modifier_and_reads_comments_of_several_lines(tmp_path):
    found = events(write(tmp_path, NEW_BORIS, "new.csv"))
    assert found == [
        ("fox 1.mp4", 1.5, 4.25, "Walk", "red"),
        ("fox 1.mp4", 1.6, 5.0, "Walk", "red"),
        ("fox 1.mp4", 2.0, 2.0, "Bark", ""),
    ]


def test_boris_counts_on_from_one_video_to_the_next_and_events_may_run_over(tmp_path):
    head = "Observation id,Source,Time offset (s),Media duration (s),Subject,Behavior,"
    head += "Behavior type,Time,Media file name\n"
    both = "obs,player #1:a.mp4;b.mp4|player #2:side.mp4,5,10.0;20.0|30.0,,Walk,"
    rows = [("START", 8.0, "a.mp4"), ("STOP", 17.0, "b.mp4"), ("START", 30, "b.mp4")]
    rows += [("STOP", 36, "b.mp4"), ("POINT", 15, "b.mp4")]
    text = head + "".join(f"{both}{kind},{time},{video}\n" for kind, time, video in rows)
    assert events(write(tmp_path, text)) == [
        ("a.mp4", 3.0, 10.0, "Walk", ""),
        ("b.mp4", 0.0, 0.0, "Walk", ""),
        ("b.mp4", 0.0, 2.0, "Walk", ""),
        ("b.mp4", 15.0, 21.0, "Walk", ""),
    ]


ELAN_HEADER = (
    '"#file:///D:/lab/fox%201.mp4 -- offset: 500, duration: 00:01:00.000 / 60.000 / 60000, '
    'ms per sample: 40.0"\n'
)
ELAN_TIMES = "Begin Time - hh:mm:ss.ms\tBegin Time - ss.msec\tEnd Time - hh:mm:ss.ms\tEnd Time - "
ELAN_TIMES += "ss.msec\tDuration - hh:mm:ss.ms\tDuration - ss.msec"
ELAN = {
    "one row an annotation, no header": (
        "red\t\t00:00:01.500\t1.5\t00:00:04.250\t4.25\t00:00:02.750\t2.75\tWalk\n"
        "sounds\t\t00:00:02.000\t2.0\t00:00:03.000\t3.0\t00:00:01.000\t1.0\tBark [a12]\n"
    ),
    "msec alone": "red\t\t1500\t4250\t2750\tWalk\nsounds\t\t2000\t3000\t1000\tBark\n",
    "hh:mm:ss.ms alone": (
        "red\tA\t00:00:01.500\t00:00:04.250\tWalk\nsounds\tA\t00:00:02.000\t00:00:03.000\tBark\n"
    ),
    "a header": (
        f"Tier\tParticipant\t{ELAN_TIMES}\tAnnotation\n"
        "red\t\t00:00:01.500\t1.5\t00:00:04.250\t4.25\t00:00:02.750\t2.75\tWalk\n"
        "sounds\t\t00:00:02.000\t2.0\t00:00:03.000\t3.0\t00:00:01.000\t1.0\tBark\n"
    ),
    "a column a tier": (
        f"{ELAN_TIMES}\tred\tsounds\n"
        "00:00:01.500\t1.5\t00:00:04.250\t4.25\t00:00:02.750\t2.75\tWalk\t\n"
        "00:00:02.000\t2.0\t00:00:03.000\t3.0\t00:00:01.000\t1.0\t\tBark\n"
    ),
    "commas, msec": (
        "Begin Time - msec,End Time - msec,Duration - msec,red,sounds\n"
        "1500,4250,2750,Walk,\n2000,3000,1000,,Bark\n"
    ),
    "a file column": (
        f"{ELAN_TIMES}\tred\tsounds\tFile Path\n"
        "00:00:01.500\t1.5\t00:00:04.250\t4.25\t0\t2.75\tWalk\t\tC:\\lab\\fox 1.eaf\n"
        "00:00:02.000\t2.0\t00:00:03.000\t3.0\t0\t1.0\t\tBark\tC:\\lab\\fox 1.eaf\n"
    ),
}


@pytest.mark.parametrize("layout", ELAN)
def test_every_layout_of_an_elan_text_export_gives_the_same_events(tmp_path, layout):
    path = write(tmp_path, ELAN[layout], "fox 1.txt")
    assert guess_format(path)[0] == "elan-text"
    assert events(path) == [
        ("fox 1", 1.5, 4.25, "Walk", "red"),
        ("fox 1", 2.0, 3.0, "Bark", "sounds"),
    ]


def test_the_lines_above_an_elan_export_name_the_video_and_where_it_begins(tmp_path):
    path = write(tmp_path, ELAN_HEADER + "\n" + ELAN["one row an annotation, no header"])
    assert events(path) == [
        ("fox 1.mp4", 2.0, 4.75, "Walk", "red"),
        ("fox 1.mp4", 2.5, 3.5, "Bark", "sounds"),
    ]


EAF = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="2024-05-02T10:00:00+01:00" FORMAT="3.0" VERSION="3.0">
  <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
    <MEDIA_DESCRIPTOR MEDIA_URL="file:///D:/lab/fox.wav" MIME_TYPE="audio/x-wav"/>
    <MEDIA_DESCRIPTOR MEDIA_URL="file:///D:/lab/fox%201.mp4" MIME_TYPE="video/mp4"
      RELATIVE_MEDIA_URL="./fox%201.mp4" TIME_ORIGIN="500"/>
  </HEADER>
  <TIME_ORDER>
    <TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="1500"/>
    <TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="2000"/>
    <TIME_SLOT TIME_SLOT_ID="ts3" TIME_VALUE="4250"/>
  </TIME_ORDER>
  <TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="red">
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1"
      TIME_SLOT_REF2="ts3"><ANNOTATION_VALUE>Walk</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION>
    </ANNOTATION>
  </TIER>
  <TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="Barking">
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts2"
      TIME_SLOT_REF2="ts3"><ANNOTATION_VALUE></ANNOTATION_VALUE></ALIGNABLE_ANNOTATION>
    </ANNOTATION>
  </TIER>
  <TIER LINGUISTIC_TYPE_REF="note" PARENT_REF="red" TIER_ID="notes">
    <ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a3" ANNOTATION_REF="a1">
      <ANNOTATION_VALUE>limps</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
  </TIER>
</ANNOTATION_DOCUMENT>
"""


def test_elans_own_file_is_read_and_an_empty_annotation_is_named_by_its_tier(tmp_path):
    path = write(tmp_path, EAF, "fox.eaf")
    assert guess_format(path)[0] == "eaf"
    assert events(path) == [
        ("fox%201.mp4".replace("%20", " "), 2.0, 4.75, "Walk", "red"),
        ("fox 1.mp4", 2.5, 4.75, "Barking", "Barking"),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize(
    "header",
    ["video,start,stop,behaviour,subject", "File name,Start (s),End (s),Behavior,Animal",
     "media_file,onset,offset,label,individual"],
)  # fmt: skip
def test_a_plain_table_is_read_with_any_delimiter_and_usual_names(tmp_path, delimiter, header):
    rows = f"{header}\nfox 1.mp4,1.5,4.25,Walk,red\nfox 1.mp4,0:02,2,Bark,\n"
    path = write(tmp_path, "\ufeff" + rows.replace(",", delimiter).replace("\n", "\r\n"))
    assert guess_format(path)[0] == "events"
    assert events(path) == BOTH


def test_decimal_commas_durations_and_utf16_are_read_where_they_are_clear(tmp_path):
    text = "video;start;duration;behaviour\nfox 1.mp4;1,5;2,75;Walk\n"
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode("utf-16"))
    assert events(path) == [("fox 1.mp4", 1.5, 4.25, "Walk", "")]


@pytest.mark.parametrize("header", ["", "video,label\n", "video,label1,label2\n"])
def test_a_list_labels_whole_clips(tmp_path, header):
    path = write(tmp_path, f"{header}fox 1.mp4,Walk,Bark\nsub/owl.MOV,Fly\n")
    assert guess_format(path)[0] == "list"
    assert events(path) == [
        ("fox 1.mp4", None, None, "Bark", ""),
        ("fox 1.mp4", None, None, "Walk", ""),
        ("owl.MOV", None, None, "Fly", ""),
    ]


def test_charades_actions_are_events_that_end_with_the_video(tmp_path):
    path = write(
        tmp_path,
        "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length\n"
        '46GP8,HR43,Kitchen,6,7,Yes,"A person cooks, then eats.",food;stove,"x;y",'
        "c092 11.90 21.20;c147 0.00 12.60,24.83\n"
        "N11GT,0KZ7,Stairs,6,7,Yes,s,o,d,,18.29\n"
        "ZZ89Q,0KZ7,Stairs,6,7,Yes,s,o,d,c093 2 30,18.29\n",
    )
    assert guess_format(path)[0] == "charades"
    assert events(path) == [
        ("46GP8", 0.0, 12.6, "c147", ""),
        ("46GP8", 11.9, 21.2, "c092", ""),
        ("ZZ89Q", 2.0, 18.29, "c093", ""),
    ]


@pytest.mark.parametrize("delimiter", [" ", "\t"])
def test_a_table_of_frames_is_recognised_and_says_that_it_is_ready(tmp_path, delimiter):
    text = "original_vido_id video_id frame_id path labels\nZ1 0 1 Z1/1.jpg 3\n"
    path = write(tmp_path, text.replace(" ", delimiter))
    assert guess_format(path)[0] == "frames"
    with pytest.raises(ValueError, match="training reads it as it is"):
        read_events(path)


def test_every_format_in_the_table_is_shown_in_the_page(repo):
    page = (repo / "docs/own_data.md").read_text()
    assert [name for name in FORMATS if f"`{name}`" not in page] == []
