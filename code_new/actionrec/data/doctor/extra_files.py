"""Files and folders that no clip names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from actionrec.data.doctor.clip_files import Extra
from actionrec.data.doctor.findings import Finding, Severity
from actionrec.data.doctor.folders import list_all, list_files
from actionrec.data.input_checks import shown

_FIX = "take them away, or make an annotation that names them"


class ExtraFiles:
    """Gathers, clip by clip, what else lies in the folders that hold frames.

    Only a folder that one clip alone has files in is asked for more: in another, a file that one
    clip does not name may be the next one's.
    """

    def __init__(self) -> None:
        self._of_folder: dict[str, tuple[str, Extra]] = {}

    def add(self, clip_id: str, extra: dict[str, Extra]) -> None:
        """extra: by folder, of the folders that the clip has files in."""
        for folder, more in extra.items():
            owner = self._of_folder.setdefault(folder, (clip_id, more))[0]
            if owner != clip_id:
                self._of_folder[folder] = ("", Extra(0, ()))

    def findings(self, root: Path) -> Iterator[Finding]:
        """After the last clip. Raises OSError when `root` cannot be listed."""
        tops = {folder.partition("/")[0] for folder in self._of_folder}
        files = list_files(root) if "" in tops else frozenset()
        yield from unnamed(root, list_all(root) - tops - files)
        said = {f: extra for f, (_, extra) in sorted(self._of_folder.items()) if extra.total}
        if said:
            count = sum(extra.total for extra in said.values())
            yield Finding(
                Severity.NOTE,
                "extra_files",
                f"{root}: {count:,} files in {len(said):,} clips' folders are named by no clip",
                count,
                tuple(shown(f"{f}/{name}") for f, extra in said.items() for name in extra.names),
                _FIX,
            )


def unnamed(root: Path, names: Iterable[str]) -> Iterator[Finding]:
    """A finding for the `names` in `root` itself that no clip has files below, if there are any."""
    names = sorted(names)
    if names:
        yield Finding(
            Severity.NOTE,
            "extra_entries",
            f"{root}: {len(names):,} files or folders are named by no clip",
            len(names),
            tuple(map(shown, names)),
            _FIX,
        )
