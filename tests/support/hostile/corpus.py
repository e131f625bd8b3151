"""The corpus of hostile files, and its companions that only a file system can hold."""

import errno
import os
import stat
from pathlib import Path

from tests.support.hostile.damaged import broken_exif, damaged, other_formats
from tests.support.hostile.encoders import encoded, gradient_image
from tests.support.hostile.files import IGNORED, STORED, UNKNOWN, HostileFile
from tests.support.hostile.sizes import bombs, extreme_dimensions
from tests.support.hostile.truncated import truncated
from tests.support.hostile.valid import animated, colour_modes


def corpus() -> list[HostileFile]:
    """Return every hostile file that consists of bytes alone."""
    return [
        *truncated(),
        *bombs(),
        *other_formats(),
        *extreme_dimensions(),
        *broken_exif(),
        *animated(),
        *colour_modes(),
        *damaged(),
    ]


def write(folder: Path) -> dict[str, str]:
    """Write the corpus and its companions into `folder`; return the expected outcomes by key."""
    outcomes = {}
    for file in corpus():
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.data)
        outcomes[file.name] = file.outcome
    return outcomes | _names(folder) | _links(folder) | _specials(folder)


def _names(folder: Path) -> dict[str, str]:
    data = encoded(gradient_image(), "PNG")
    (folder / "names").mkdir()
    root = os.fsencode(folder / "names") + b"/"
    found = {}
    names = {
        b"new\nline.png": "new\nline.png",
        b"caf\xe9.png": "caf\\udce9.png",
        b"\xff\xfe\xfd.png": "\\udcff\\udcfe\\udcfd.png",
        b"a" * 251 + b".png": "a" * 251 + ".png",
        "я".encode() * 125 + b".png": "я" * 125 + ".png",
        "\u202egnp.evil.png".encode(): "\u202egnp.evil.png",
        b"\x1b[31mred\x07.png": "\x1b[31mred\x07.png",
        b"tab\treturn\r.png": "tab\treturn\r.png",
        b"-rf.png": "-rf.png",
        b"back\\slash'\"`$(id).png": "back\\slash'\"`$(id).png",
        b"%s {0} [red].png": "%s {0} [red].png",
        b"two words .png": "two words .png",
        "e\u0301 \U0001f98a.png".encode(): "e\u0301 \U0001f98a.png",
        b"two.ends.jpg.png": "two.ends.jpg.png",
        b"UPPER.PNG": "UPPER.PNG",
    }
    for name, key in names.items():
        Path(os.fsdecode(root + name)).write_bytes(data)
        found[f"names/{key}"] = STORED
    for name in (".hidden.png", ".png", "no-extension", "a.png~", "a.png.txt", "Thumbs.db"):
        (folder / "names" / name).write_bytes(data)
        found[f"names/{name}"] = IGNORED
    (folder / "names" / ".hidden").mkdir()
    (folder / "names" / ".hidden" / "a.png").write_bytes(data)
    return found | {"names/.hidden/a.png": IGNORED}


def _links(folder: Path) -> dict[str, str]:
    (folder / "links").mkdir()
    (folder / "links" / "real.png").write_bytes(encoded(gradient_image(), "PNG"))
    targets = {
        "to-file.png": ("real.png", STORED),
        "to-itself.png": ("to-itself.png", os.strerror(errno.ELOOP)),
        "there.png": ("back.png", os.strerror(errno.ELOOP)),
        "back.png": ("there.png", os.strerror(errno.ELOOP)),
        "dangling.png": ("nowhere", os.strerror(errno.ENOENT)),
        "to-text.png": (__file__, UNKNOWN),
        "to-device.png": ("/dev/zero", "not a regular file"),
        "to-folder.png": (".", os.strerror(errno.EISDIR)),
        "loop": ("..", IGNORED),
    }
    for name, (target, _) in targets.items():
        (folder / "links" / name).symlink_to(target)
    return {"links/real.png": STORED} | {f"links/{name}": outcome for name, (_, outcome) in targets.items()}


def _specials(folder: Path) -> dict[str, str]:
    root = folder / "special"
    root.mkdir()
    os.mkfifo(root / "pipe.png")
    os.mknod(root / "socket.png", stat.S_IFSOCK | 0o600)
    (root / "folder.png").mkdir()
    (root / "folder.png" / "inside.png").write_bytes(encoded(gradient_image(), "PNG"))
    (root / "empty-folder.png").mkdir()
    (root / "closed").mkdir()
    (root / "closed" / "inside.png").write_bytes(encoded(gradient_image(), "PNG"))
    (root / "unreadable.png").write_bytes(encoded(gradient_image(), "PNG"))
    found = {
        "special/pipe.png": "not a regular file",
        "special/socket.png": os.strerror(errno.ENXIO),
        "special/folder.png": IGNORED,
        "special/folder.png/inside.png": STORED,
        "special/empty-folder.png": IGNORED,
        "special/unreadable.png": STORED,
        "special/closed/inside.png": STORED,
    }
    for name in ("unreadable.png", "closed"):
        (root / name).chmod(0)
    if not os.access(root / "unreadable.png", os.R_OK):  # anyone but root
        denied = os.strerror(errno.EACCES)
        del found["special/closed/inside.png"]
        found |= {"special/unreadable.png": denied, "special/closed": f"cannot list this folder: {denied}"}
    return found
