"""What people get wrong in tables of events: one line each, with the file and the row."""

from __future__ import annotations

import numpy as np
import pytest
from test_events import EAF, ELAN, NEW_AGGREGATED, NEW_BORIS, OLD_BORIS, write

from actionrec.data.own.events import read_events
from actionrec.errors import SecurityError, UserError

TABLE = "video,start,stop,behaviour\n"

SAMPLES = [OLD_BORIS, NEW_BORIS, NEW_AGGREGATED, EAF, *ELAN.values(), TABLE + "a.mp4,1,2,x\n"]


def swap(text, old, new):
    assert old in text
    return text.replace(old, new)


MISTAKES = {
    "no kind of event": (
        swap(OLD_BORIS, "POINT", "TWICE"),
        r"export.txt:11: 'TWICE' is no kind of event; BORIS writes START, STOP, POINT",
    ),
    "no kind of bout": (swap(NEW_AGGREGATED, "STATE", "START"), r":2: 'START' is no kind of event"),
    "START without STOP": (
        OLD_BORIS.rsplit("14.250", 1)[0],
        r"export.txt:10: this START has no STOP; add one",
    ),
    "two STARTs": (
        swap(NEW_BORIS, "slow,START", "fast,START"),
        r":3: 'Walk' starts again, but the START in .*:2 has no STOP yet",
    ),
    "STOP without START": (
        swap(NEW_BORIS, "fast,START", "fast,POINT"),
        r":6: 'Walk' stops without a START before",
    ),
    "stop before start, BORIS": (
        swap(OLD_BORIS, "14.250", "10.500"),
        r"export.txt:10: 'Walk' stops at 0.5 s, before it starts at 1.5 s",
    ),
    "before the offset": (swap(OLD_BORIS, "11.500", "9.500"), r":10: 9.5 s is before the time off"),
    "a live observation": (
        swap(NEW_AGGREGATED, "NA;fox 1.mp4", "NA;NA").replace("2,750;fox 1.mp4", "2,750;NA"),
        r":2: names no video \('NA'\); observations that were made live",
    ),
    "several videos of unknown length": (
        OLD_BORIS + OLD_BORIS.rsplit("\n", 2)[1].replace("fox 1", "fox 2") + "\n",
        r":13: observation 'obs 1' plays several videos",
    ),
    "stop before start": (TABLE + "a.mp4,4,3,Walk\n", r":2: 'Walk' stops at 3 s, before it starts"),
    "negative": (TABLE + "a.mp4,-1.5,3,Walk\n", r":2: start is '-1.5', before the video begins"),
    "no time": (TABLE + "a.mp4,soon,3,Walk\n", r":2: start is 'soon', not a time; write seconds"),
    "not a number": (TABLE + "a.mp4,nan,3,Walk\n", r":2: start is 'nan', not a time"),
    "no behaviour": (TABLE + "a.mp4,1,3,\n", r":2: names no behaviour"),
    "no video": (TABLE + ",1,3,Walk\n", r":2: names no video"),
    "decimal commas": (
        TABLE + "a.mp4,1,5,3,5,Walk\n",
        r":2: 6 fields between commas, but the header names 4; a decimal comma\? write 12.5",
    ),
    "doubled columns": (
        "video,start,stop,behaviour,label\na.mp4,1,3,Walk,x\n",
        r":1: 'behaviour' and 'label' both name the behaviour; delete or rename one column",
    ),
    "no rows": (TABLE, r"has a header but no rows"),
    "no label": ("a.mp4,Walk\nb.mp4,\n", r":2: has no label; write one after"),
    "wrong delimiter": (TABLE.replace(",", "|"), r":1: this is not the header of any format"),
    "another table": (
        "x,y\n1,2\n",
        r":1: this is not the header of any format .*: 'x,y'; docs/own",
    ),
    "an action": (
        "id,actions,length\nA,c092 11.90,20\n",
        r":2: action 'c092 11.90' is not written as class, start, stop",
    ),
    "unnamed row": ("red\t\t1.5\t4.2\tWalk\nred\t\tx\ty\tWalk\n", r":2: has no begin and end time"),
    "cut XML": (EAF[:900], r"is not whole XML"),
    "other XML": ("<?xml version='1.0'?><gpx/>", r"is XML, but no ELAN file: it begins with gpx"),
    "no time slot": (
        swap(EAF, 'TIME_VALUE="2000"', ""),
        r"tier 'Barking', annotation a2: has no t",
    ),
    "no text": ("a\0b", r"is not a text file"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_with_its_place(tmp_path, mistake):
    text, says = MISTAKES[mistake]
    with pytest.raises(UserError, match=says) as caught:
        read_events(write(tmp_path, text))
    assert "\n" not in str(caught.value) and "export.txt" in str(caught.value)


PIECES = [
    "\t",
    ",",
    ";",
    '"',
    "\n",
    "\r",
    "#",
    "<",
    ">",
    "-",
    "é",
    "\x00",
    "\x1b",
    "9" * 30,
    "NaN",
    "",
]


@pytest.mark.parametrize("number", range(len(SAMPLES)))
def test_whatever_is_damaged_is_read_or_refused_in_one_line(tmp_path, number):
    rng = np.random.default_rng(number)
    for _ in range(150):
        text = SAMPLES[number]
        for _ in range(rng.integers(1, 6)):
            at, length = rng.integers(len(text)), rng.integers(0, 12)
            text = text[:at] + str(rng.choice(PIECES)) + text[at + length :]
        path = write(tmp_path, text)
        try:
            found = read_events(path)
        except UserError as error:
            assert "\n" not in str(error) and str(error).startswith(str(path))
        else:
            for event in found:
                assert event.behaviour.isprintable() and (event.start_sec or 0) >= 0
                assert (event.start_sec or 0) <= (event.stop_sec or 0) < 1e9


def test_an_empty_file_and_one_that_is_not_utf8_are_named(tmp_path):
    with pytest.raises(UserError, match=r"export.txt: is empty"):
        read_events(write(tmp_path, ""))
    path = tmp_path / "latin.csv"
    path.write_bytes("video,start,stop,behaviour\na.mp4,1,2,Höhle\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"latin.csv:2: is not UTF-8 text"):
        read_events(path)


def test_a_format_that_is_named_is_the_only_one_tried(tmp_path):
    path = write(tmp_path, OLD_BORIS)
    with pytest.raises(UserError, match="not the header of charades"):
        read_events(path, "charades")
    with pytest.raises(UserError, match=r"--format 'boris': is unknown; known: eaf, boris-aggr"):
        read_events(path, "boris")


@pytest.mark.parametrize(
    "definition",
    ['<!DOCTYPE lolz [<!ENTITY lol "lol">]>', '<!ENTITY x SYSTEM "file:///etc/passwd">'],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_that_defines_entities_is_refused_unread(tmp_path, definition, encoding):
    path = tmp_path / "bomb.eaf"
    path.write_bytes(
        EAF.replace("<ANNOTATION_DOC", f"{definition}<ANNOTATION_DOC").encode(encoding)
    )
    with pytest.raises(SecurityError, match="bomb.eaf: is refused: it defines XML entities"):
        read_events(path)
