"""Promise P7: a file of trust or secrets is believed only when nobody but its owner could have written it."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from punktfunk.client.known_hosts import KnownHosts
from punktfunk.desktop.portal.grants import GRANTS_FILE, GrantKey, GrantStore, read_grants
from punktfunk.errors import (
    ConfigError,
    CredentialError,
    DesktopError,
    PunktfunkError,
    SettingsError,
    TrustStoreError,
)
from punktfunk.host.settings import SettingsStore
from punktfunk.mgmt.login import Password
from punktfunk.mgmt.token import load_or_create_token
from punktfunk.trust import private_file
from punktfunk.trust.identity import Identity, Role
from punktfunk.trust.private_file import read_private, write_private
from punktfunk.trust.store import PairedClient, TrustStore

NOBODY = 65534
SOMEBODY = 1000
HASH = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$" + "A" * 43


def _trust(folder: Path) -> Path:
    TrustStore(folder / "trust.json").add(PairedClient("1" * 64, "one", "native", 10))
    return folder / "trust.json"


def _settings(folder: Path) -> Path:
    SettingsStore(folder / "settings.json").store({"codec": "h264"})
    return folder / "settings.json"


def _known_hosts(folder: Path) -> Path:
    KnownHosts(folder).remember(("192.0.2.1", 9777), "ab" * 32)
    return folder / "known-hosts.json"


def _token(folder: Path) -> Path:
    load_or_create_token(folder)
    return folder / "mgmt-token"


def _password(folder: Path) -> Path:
    write_private(folder / "console.json", json.dumps({"schema_version": 1, "password_hash": HASH}).encode())
    return folder / "console.json"


def _grants(folder: Path) -> Path:
    GrantStore(folder).keep(GrantKey("GNOME", "gnome", "remote-desktop", ""), "token")
    return folder / GRANTS_FILE


def _key(folder: Path) -> Path:
    Identity.load_or_create(folder, Role.CLIENT)
    return folder / "client-key.pem"


def _certificate(folder: Path) -> Path:
    Identity.load_or_create(folder, Role.CLIENT)
    return folder / "client-cert.pem"


Kind = tuple[Callable[[Path], Path], Callable[[Path], object], type[PunktfunkError], bool]
KINDS: dict[str, Kind] = {
    "trust": (_trust, lambda folder: TrustStore(folder / "trust.json"), TrustStoreError, False),
    "settings": (_settings, lambda folder: SettingsStore(folder / "settings.json"), SettingsError, False),
    "known-hosts": (_known_hosts, KnownHosts, TrustStoreError, False),
    "token": (_token, load_or_create_token, CredentialError, True),
    "password": (_password, Password, CredentialError, True),
    "grants": (_grants, lambda folder: read_grants(folder / GRANTS_FILE), DesktopError, True),
    "key": (_key, lambda folder: Identity.load_or_create(folder, Role.CLIENT), ConfigError, True),
    "certificate": (
        _certificate,
        lambda folder: Identity.load_or_create(folder, Role.CLIENT),
        ConfigError,
        False,
    ),
}
"""How each is made, how it is read, what is raised, and whether it is a secret."""


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir(0o700)
    return folder


def _refused(kind: Kind, folder: Path, words: str) -> None:
    """Reading is refused in words that say what to do, also a second time, and nothing is made new."""
    before = sorted(folder.iterdir()) if folder.exists() else []
    for _ in range(2):
        with pytest.raises(kind[2], match=words) as caught:
            kind[1](folder)
        assert caught.value.hint
    assert (sorted(folder.iterdir()) if folder.exists() else []) == before


def test_a_file_as_it_was_made_is_read(kind: Kind, state: Path) -> None:
    kind[0](state)
    kind[1](state)


@pytest.mark.root
def test_a_file_of_another_user_is_not_believed(kind: Kind, state: Path) -> None:
    os.chown(kind[0](state), SOMEBODY, SOMEBODY)
    _refused(kind, state, "belongs to user 1000, not to 0")


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_not_believed(kind: Kind, state: Path, mode: int) -> None:
    kind[0](state).chmod(mode)
    _refused(kind, state, "others")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610])
def test_only_a_secret_has_to_be_hidden_from_others(kind: Kind, state: Path, mode: int) -> None:
    kind[0](state).chmod(mode)
    if kind[3]:
        _refused(kind, state, "used by others")
    else:
        kind[1](state)


def test_a_link_is_not_followed_wherever_it_leads(kind: Kind, state: Path, tmp_path: Path) -> None:
    path = kind[0](state)
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    _refused(kind, state, "link")
    elsewhere.unlink()  # dangling: an error and not an empty list or a fresh token
    _refused(kind, state, "link")
    assert path.is_symlink()


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


def _device(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # as /dev/zero


@pytest.mark.parametrize(
    "make",
    [os.mkfifo, Path.mkdir, _socket, pytest.param(_device, marks=pytest.mark.root)],
    ids=["FIFO", "folder", "socket", "device"],
)
def test_what_is_no_regular_file_is_refused_and_holds_nobody_up(
    kind: Kind, make: Callable[[Path], None], state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = kind[0](state)
    path.unlink()
    monkeypatch.chdir(state)  # a socket's path is short
    make(Path(path.name))
    _refused(kind, state, "no regular file" if make is not _socket else "cannot be read")


def test_a_file_beyond_its_size_is_refused_before_it_is_read(kind: Kind, state: Path) -> None:
    path = kind[0](state)
    with path.open("r+b") as file:
        file.truncate(1 << 40)  # a hole: 1 TiB that takes no room
    _refused(kind, state, "more than")


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o702])
def test_a_folder_that_others_can_write_is_not_used(kind: Kind, state: Path, mode: int) -> None:
    kind[0](state)
    state.chmod(mode)
    _refused(kind, state, "others can write to it")


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_folder_that_others_can_write_gets_no_first_file_either(kind: Kind, state: Path, mode: int) -> None:
    state.chmod(mode)
    _refused(kind, state, "others can write to it")
    with pytest.raises(OSError, match="others can write"):
        write_private(state / "file", b"secret")
    assert list(state.iterdir()) == []


@pytest.mark.root
def test_a_folder_of_another_user_is_not_used(kind: Kind, state: Path) -> None:
    kind[0](state)
    os.chown(state, SOMEBODY, SOMEBODY)
    _refused(kind, state, "belongs to user 1000")
    with pytest.raises(OSError, match="belongs to user 1000"):
        write_private(state / "file", b"secret")


def test_a_folder_that_is_a_link_to_nothing_is_an_error_and_one_to_a_folder_is_not(
    kind: Kind, tmp_path: Path
) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    link.symlink_to(real)
    _refused(kind, link, "link to nothing")
    real.mkdir(0o700)
    kind[0](link)
    kind[1](link)


AS_NOBODY = """
import os
from pathlib import Path
from punktfunk.errors import PunktfunkError
from punktfunk.trust.private_file import read_private
os.setgroups([]); os.setgid({id}); os.setuid({id})
try:
    print(read_private(Path({path!r}), what="it", error=PunktfunkError, secret={secret}))
except PunktfunkError as error:
    print(error.cause)
"""


def _as_nobody(path: Path, *, secret: bool) -> str:
    program = AS_NOBODY.format(id=NOBODY, path=str(path), secret=secret)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.root
def test_what_root_put_there_is_believed_by_the_service_s_user(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """As below /etc: root owns folder and files, and gives a secret by the service's group."""
    folder = Path(tmp_path_factory.mktemp("etc"))
    above = folder.parents
    modes = [
        (one, one.stat().st_mode) for one in above[: len(above) - 1] if one.stat().st_uid == os.geteuid()
    ]
    try:
        for one, mode in modes:
            one.chmod(mode | 0o011)  # pytest's folders let nobody else through
        folder.chmod(0o755)
        files = {"list": 0o644, "secret": 0o640, "loose": 0o644, "shared": 0o660, "closed": 0o600}
        for name, mode in files.items():
            (folder / name).write_bytes(b"x")
            (folder / name).chmod(mode)
            os.chown(folder / name, 0, NOBODY)
        assert _as_nobody(folder / "list", secret=False) == "b'x'"
        assert _as_nobody(folder / "secret", secret=True) == "b'x'"
        assert "cannot be read: Permission denied" in _as_nobody(folder / "closed", secret=False), (
            "not an empty one"
        )
        assert "used by others" in _as_nobody(folder / "loose", secret=True)
        assert "used by others" in _as_nobody(folder / "shared", secret=True)
        os.chown(folder / "secret", NOBODY, NOBODY)
        assert "used by others" in _as_nobody(folder / "secret", secret=True), "its own file needs no group"
        os.chown(folder / "list", SOMEBODY, 0)
        assert "belongs to user 1000" in _as_nobody(folder / "list", secret=False)
    finally:
        for one, mode in modes:
            one.chmod(mode)


# --- identities ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("lost", [0, 1], ids=["certificate", "key"])
def test_half_an_identity_is_never_replaced_by_a_new_one(role: Role, lost: int, state: Path) -> None:
    before = Identity.load_or_create(state, role)
    paths = Identity.paths(state, role)
    content = paths[lost].read_bytes()
    paths[lost].unlink()
    for _ in range(2):
        with pytest.raises(ConfigError, match=f"{paths[lost].name} is missing beside") as caught:
            Identity.load_or_create(state, role)
    assert "backup" in caught.value.hint
    assert [path.name for path in state.iterdir()] == [paths[1 - lost].name]
    write_private(paths[lost], content)
    assert Identity.load_or_create(state, role).fingerprint == before.fingerprint


def test_a_first_start_that_was_cut_short_anywhere_is_finished_or_begun_anew(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step that reaches the disk may be the last one before a power cut."""
    steps = 0

    class PowerCut(BaseException):
        pass

    for cut in range(1, 20):
        folder = state / str(cut)
        steps = 0
        real = Path.replace

        def replace(self: Path, target: Path, cut: int = cut, real: Callable[..., Path] = real) -> Path:
            nonlocal steps
            steps += 1
            if steps == cut:
                raise PowerCut
            return real(self, target)

        with monkeypatch.context() as cutting:
            cutting.setattr(Path, "replace", replace)
            try:
                Identity.load_or_create(folder, Role.CLIENT)
            except PowerCut:
                pass
            else:
                break
        keys = (folder / "client-key.pem").read_bytes() if (folder / "client-key.pem").exists() else None
        whole = Identity.load_or_create(folder, Role.CLIENT)
        assert keys is None or whole._key_pem() == keys
        assert sorted(path.name for path in folder.iterdir()) == ["client-cert.pem", "client-key.pem"]
    assert cut == 4, "certificate beside, key, certificate in place"


def test_a_certificate_beside_that_is_of_another_key_finishes_nothing(state: Path) -> None:
    Identity.load_or_create(state, Role.CLIENT)
    other = Identity.generate(Role.CLIENT)
    from cryptography.hazmat.primitives.serialization import Encoding

    (state / "client-cert.pem").unlink()
    write_private(state / ".client-cert.pem.new", other.certificate.public_bytes(Encoding.PEM))
    with pytest.raises(ConfigError, match="missing beside"):
        Identity.load_or_create(state, Role.CLIENT)


# --- leftovers ----------------------------------------------------------------------------------------------

KILLED = """
import os, signal
from pathlib import Path
from punktfunk.trust.private_file import write_private
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
write_private(Path({path!r}), b"new")
"""


def test_what_a_killed_writer_left_goes_with_the_next_reader_and_the_old_file_stays(
    kind: Kind, state: Path
) -> None:
    path = kind[0](state)
    before, names = path.read_bytes(), sorted(state.iterdir())
    program = KILLED.format(path=str(path))
    for _ in range(3):
        subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert len(list(state.iterdir())) == len(names) + 3, "three were killed in the middle"
    kind[1](state)
    assert sorted(state.iterdir()) == names
    assert path.read_bytes() == before


def test_a_file_that_is_being_written_is_no_leftover(state: Path) -> None:
    being_written = state / ".list.1.tmp"
    being_written.write_bytes(b"half")
    with being_written.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert read_private(state / "list", what="it", error=PunktfunkError) is None
        assert being_written.read_bytes() == b"half"
    assert read_private(state / "list", what="it", error=PunktfunkError) is None
    assert not being_written.exists()


def test_only_a_writer_s_own_names_are_leftovers(state: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    kept = [".list.tmp", ".list.x1.tmp", ".other.1.tmp", "list.1.tmp", ".list.1.tmp.old"]
    for name in kept:
        (state / name).write_text("")
    (state / ".list.7.tmp").symlink_to(victim)
    os.mkfifo(state / ".list.8.tmp")
    (state / ".list.9.tmp").mkdir()
    read_private(state / "list", what="it", error=PunktfunkError)
    assert {path.name for path in state.iterdir()} == {*kept, ".list.7.tmp", ".list.8.tmp", ".list.9.tmp"}
    assert victim.read_text() == "precious"


def test_readers_and_writers_at_once_see_whole_files_and_lose_none(state: Path) -> None:
    path = state / "list"
    write_private(path, b"0" * 1000)
    stop, wrong = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            content = read_private(path, what="it", error=PunktfunkError)
            if content is None or len(set(content)) != 1 or len(content) != 1000:
                wrong.append(content)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    deadline = time.monotonic() + 300
    try:
        for n in range(100):
            write_private(path, bytes([48 + n % 10]) * 1000)
            assert time.monotonic() < deadline
    finally:
        stop.set()
        for reader in readers:
            reader.join(10)
    assert wrong == []
    assert [one.name for one in state.iterdir()] == ["list"]


def test_the_sizes_are_what_the_largest_honest_files_need(state: Path) -> None:
    """1024 clients with certificates of 4 KiB fit, and nothing needs more than it may have."""
    store = TrustStore(state / "trust.json")
    pem = "-----BEGIN CERTIFICATE-----\n" + "A" * 4096
    store._replace(
        {f"{n:064x}": PairedClient(f"{n:064x}", "x" * 64, "gamestream", n, pem) for n in range(1024)}
    )
    assert len(TrustStore(state / "trust.json").clients()) == 1024
    assert private_file.MAX_FILE_BYTES == 65_536


@pytest.mark.parametrize("program", ["serve", "host", "console", "connect", "pair", "discover"])
def test_the_programs_say_it_in_two_lines_and_leave(program: str, tmp_path: Path) -> None:
    state = tmp_path / "punktfunk"
    state.mkdir(0o700)
    state.chmod(0o777)
    arguments = {
        "serve": [
            "--bind",
            "127.0.0.1",
            "--native-port",
            "0",
            "--no-gamestream",
            "--no-mdns",
            "--mgmt-bind",
            "127.0.0.1:0",
        ],
        "host": ["--open", "--port", "0"],
        "console": [],
        "connect": ["127.0.0.1:9"],
        "pair": ["127.0.0.1:9", "--pin", "1234"],
        "discover": ["--seconds", "0.1", "--interface", "127.0.0.1"],
    }[program]
    done = subprocess.run(
        [sys.executable, "-m", "punktfunk", program, *arguments],
        env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in {2, 5}, done.stderr
    cause, hint = done.stderr.splitlines()
    assert "others can write to it (mode 0777)" in cause
    assert f"chmod 700 {state}" in hint


_TOGETHER = """
import sys
from pathlib import Path
from punktfunk.client.known_hosts import KnownHosts
from punktfunk.trust.identity import Identity, Role
folder, role, number = Path(sys.argv[1]), Role[sys.argv[2]], int(sys.argv[3])
known = KnownHosts(folder)
print("ready", flush=True)
sys.stdin.readline()
print(Identity.load_or_create(folder, role).fingerprint, flush=True)
known.remember(("192.0.2.1", number), "ab" * 32)
"""


@pytest.mark.parametrize("role", Role)
def test_programs_that_start_together_on_a_new_folder_have_one_identity_and_lose_no_host(
    role: Role, state: Path
) -> None:
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", _TOGETHER, str(state), role.name, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(1, 7)
    ]
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("go\n")
        program.stdin.flush()
    made = {program.communicate(timeout=120)[0].strip() for program in programs}
    assert [program.returncode for program in programs] == [0] * 6
    assert made == {Identity.load_or_create(state, role).fingerprint}
    assert sorted(host.port for host in KnownHosts(state).all()) == [1, 2, 3, 4, 5, 6]


def test_a_program_that_holds_a_folder_for_ever_is_named_as_the_reason(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private_file, "HOLD_LIMIT_S", 0.1)
    with (
        private_file.held_folder(state, ConfigError),
        pytest.raises(ConfigError, match="another program has been changing the state folder"),
    ):
        Identity.load_or_create(state, Role.CLIENT)
    Identity.load_or_create(state, Role.CLIENT)
