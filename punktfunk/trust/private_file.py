"""Files that hold secrets or trust: judged before they are believed, mode 0600, and whole at any time.

One reader and one writer for the trust list, both identities, the token, the password, the settings and the known
hosts. A file is believed when it is a regular one of bounded size, belongs to this user or to root (who can change it
anyway, and who puts it there in a deployment below ``/etc``), nobody else may write it (nor read it, where it is a
secret), and the same holds for writing to its folder. Links are not followed: a rename would replace them, and what
they lead to was not judged. Folders above the state folder are not looked at.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from punktfunk.errors import PunktfunkError
from punktfunk.regular_file import UnfitFileError, read_regular

MAX_FILE_BYTES = 65_536
"""Of a private file, unless its owner says more."""
HOLD_LIMIT_S = 10.0
"""How long a program waits for another one that changes the same state folder; what takes longest there is making a
key, a second on a small machine."""
_HOLD_POLL_S = 0.02
_NO_LOCKS_HERE = {errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}
"""What a file system says that cannot lock folders, such as NFS: there the last of two changes at a time counts."""
_ROOT = 0


def read_private(
    path: Path, *, what: str, error: type[PunktfunkError], limit: int = MAX_FILE_BYTES, secret: bool = False
) -> bytes | None:
    """Return what is in a private file, ``None`` when there is none at all.

    ``what`` names it in errors (``"the list of paired clients"``). Raises ``error``, with the next step, for anything
    that is not to be believed. What a killed writer left beside the file is removed.
    """
    folder = _opened_folder(path.parent, error)
    if folder is None:
        return None
    try:
        _remove_leftovers(path)
        return read_regular(
            path.name,
            limit,
            folder=folder,
            follow=False,
            judge=lambda found: _judge(found, path, what, error, secret=secret),
        )
    except FileNotFoundError:
        return None
    except OSError as failed:
        why, hint = failed.strerror, "check the owner and the mode of that file"
        if failed.errno == errno.ELOOP:
            why, hint = "it is a link", "put the file itself in its place"
        elif isinstance(failed, UnfitFileError):
            hint = "move it aside: it is not what this program wrote"
        raise error(f"{what} {path} cannot be read: {why}", hint) from failed
    finally:
        os.close(folder)


def require_private_folder(folder: Path, error: type[PunktfunkError]) -> None:
    """Raise ``error`` unless a state folder is missing, or belongs to this user or root and nobody else may write."""
    descriptor = _opened_folder(folder, error)
    if descriptor is not None:
        os.close(descriptor)


def write_private(path: Path, content: bytes) -> None:
    """Replace ``path`` by a file of mode 0600 with this content; on disk when this returns.

    A reader at any time sees the old file or the new one. Its folder is made (0700) when it is not there, and is not
    written to when others may. Raises ``OSError``; then nothing was changed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        complaint = _complaint(path.parent.stat(), path.parent)
        if complaint:
            raise UnfitFileError(complaint[0], path.parent)
        with os.fdopen(_opened_temporary(temporary), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            # Before the lock goes: a leftover is what nobody holds.
            temporary.replace(path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError:
        with contextlib.suppress(OSError):  # the folder itself may be what is missing
            temporary.unlink()
        raise


@contextlib.contextmanager
def held_folder(folder: Path, error: type[PunktfunkError]) -> Iterator[None]:
    """Let no other program change a state folder meanwhile: for what is read, changed and written in several steps.

    The folder is made (0700) when it is not there. The kernel lets go of it however this process ends. Raises ``error``
    when another program holds it for longer than :data:`HOLD_LIMIT_S`, and ``OSError`` when it cannot be made or read.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        until = time.monotonic() + HOLD_LIMIT_S
        while not _is_held_now(descriptor):
            if time.monotonic() >= until:
                raise error(
                    f"another program has been changing the state folder {folder} for {HOLD_LIMIT_S:.0f} s",
                    "end it (it may be stopped: look with ps), or name another --state-dir",
                )
            time.sleep(_HOLD_POLL_S)
        yield
    finally:
        os.close(descriptor)


def _is_held_now(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as failed:
        if failed.errno not in _NO_LOCKS_HERE:
            raise
    return True


def _opened_folder(folder: Path, error: type[PunktfunkError]) -> int | None:
    try:
        # A link to a folder is a person's own choice (dotfiles); what it leads to is judged.
        descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        if folder.is_symlink():
            raise error(
                f"the state folder {folder} is a link to nothing", "remove or mend that link"
            ) from None
        return None
    except (OSError, ValueError) as failed:
        why = failed.strerror if isinstance(failed, OSError) else "no folder can have that name"
        raise error(
            f"the state folder {folder} cannot be used: {why}", "name another --state-dir"
        ) from failed
    complaint = _complaint(os.fstat(descriptor), folder)
    if complaint:
        os.close(descriptor)
        raise error(f"the state folder {folder} is not safe: {complaint[0]}", complaint[1])
    return descriptor


def _complaint(found: os.stat_result, folder: Path) -> tuple[str, str] | None:
    """Return what is wrong with a state folder, and what to do about it."""
    if found.st_uid not in {os.geteuid(), _ROOT}:
        return _foreign(found), "start as its owner, or name another --state-dir"
    if found.st_mode & 0o022:
        return (
            f"others can write to it (mode {stat.S_IMODE(found.st_mode):04o})",
            f"look whether all that is in it is yours, then: chmod 700 {folder}",
        )
    return None


def _judge(
    found: os.stat_result, path: Path, what: str, error: type[PunktfunkError], *, secret: bool
) -> None:
    if found.st_uid not in {os.geteuid(), _ROOT}:
        raise error(f"{what} {path} {_foreign(found)}", "start as its owner, or remove it")
    mode = f"mode {stat.S_IMODE(found.st_mode):04o}"
    if secret:
        # Root gives a service its secret by the group; no other file of this user has to be shared.
        given = found.st_uid == _ROOT != os.geteuid()
        if found.st_mode & (0o037 if given else 0o077):
            raise error(
                f"{what} {path} can be used by others ({mode})",
                f"if nobody else has read it: chmod 600 {path}; else remove it and start anew",
            )
    elif found.st_mode & 0o022:
        raise error(
            f"others can write {what} {path} ({mode})",
            f"look whether everything in it is yours, then: chmod 600 {path}",
        )


def _foreign(found: os.stat_result) -> str:
    return f"belongs to user {found.st_uid}, not to {os.geteuid()}"


def _opened_temporary(temporary: Path) -> int:
    """Return the temporary file, empty and locked for as long as it is written."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    while True:
        descriptor = os.open(temporary, flags, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), temporary.lstat()):
                os.fchmod(descriptor, 0o600)
                os.ftruncate(descriptor, 0)
                return descriptor
        os.close(descriptor)  # it was taken for a leftover between open and lock


def _remove_leftovers(path: Path) -> None:
    """Remove temporary files of ``path`` whose writers were killed: those that nobody holds a lock on."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[0-9]+\.tmp")
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            if pattern.fullmatch(entry.name):
                _remove_unlocked(Path(entry.path))


def _remove_unlocked(leftover: Path) -> None:
    """Remove a regular file of this user that is not locked; whatever else it is stays where it is."""
    try:
        descriptor = os.open(leftover, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(found, leftover.lstat()):
                leftover.unlink()
    except OSError:  # it is being written, or has gone meanwhile
        return
    finally:
        os.close(descriptor)
