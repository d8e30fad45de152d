"""The small files of a run, read and written in step with their digests (digests.py).

Whoever changes a file that `digests.json` names takes the name out before and puts it in after.
So whenever a process is killed, a file has its own digest or none, and never another one's; and a
reader beside a trainer is told of no damage that is none.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from gtn_jax.files import write_text
from gtn_jax.runs import digests

_noted: list[Path] = []


class SealedFiles:
    """Files of one folder by name; creating the object touches nothing."""

    def __init__(self, folder: Path, writes: bool, growing: Sequence[str]):
        """Name them.

        Args:
            folder: need not exist yet.
            writes: False: what is to be written is passed over.
            growing: names of files that may well be without a digest.
        """
        self._folder, self._writes, self._growing = folder, writes, growing

    def read(self, name: str) -> bytes | None:
        """What was written; None where there is no such file. Says, once, that a digest is missing.

        Raises:
            ValueError: it is not what was written, or gone, or cannot be read.
        """
        path = self._folder / name
        try:
            content, has_digest = digests.read_file(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise ValueError(f"{path}: not readable ({error})") from error
        # Of many old runs, one is enough for a command to name.
        if not has_digest and name not in self._growing and not _noted:
            _noted.append(path)
            print(
                f"note    {path} has no digest, as an older version wrote it: damage to it would "
                "not be seen",
                file=sys.stderr,
                flush=True,
            )
        return content

    def was_written(self, name: str, text: str) -> bool:
        """Whether its digest is that of `text`; then it does not matter what is on the disk.

        Raises:
            ValueError: `digests.json` is damaged.
        """
        return (digests.read(self._folder) or {}).get(name) == digests.of_bytes(text.encode())

    def replace(self, texts: Mapping[str, str], without: Sequence[str] = ()) -> None:
        """Write files and their digests; what is as it should be already is not touched.

        Args:
            texts: name -> content, in this order.
            without: names that have no digest from now on.

        Raises:
            ValueError: `digests.json` is damaged, or something cannot be written.
        """
        if not self._writes:
            return
        wanted = {name: digests.of_bytes(text.encode()) for name, text in texts.items()}
        known = digests.read(self._folder) or {}
        kept = {
            name: digest
            for name, digest in known.items()
            if name not in without and wanted.get(name, digest) == digest
        }
        if kept != known:
            digests.write(self._folder, kept)
        for name, text in texts.items():
            path = self._folder / name
            if not (path.is_file() and path.read_bytes() == text.encode()):
                write_text(path, text)
        if not kept.items() >= wanted.items():
            digests.write(self._folder, kept | wanted)

    def unsealed(self, names: Sequence[str]) -> list[str]:
        """Which of these are there and have no digest.

        Raises:
            ValueError: `digests.json` is damaged.
        """
        known = digests.read(self._folder) or {}
        return [name for name in names if name not in known and (self._folder / name).is_file()]

    def seal(self, names: Sequence[str]) -> None:
        """Give each of these that is there, and has none, a digest of what is on the disk.

        Raises:
            ValueError: `digests.json` is damaged, or cannot be written.
        """
        found = self.unsealed(names) if self._writes else []
        if found:
            new = {name: digests.of_file(self._folder / name, name) for name in found}
            digests.write(self._folder, (digests.read(self._folder) or {}) | new)
