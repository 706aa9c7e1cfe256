"""A Dask cluster that runs cases: a thin adapter over the library ``distributed``.

Scheduling, retries of what a lost worker had, and transport are the library's. Ours: which address may be spoken to,
whether every worker runs the same code, how much is under way at a time, and that a lost cluster ends a run in order.
"""

from __future__ import annotations

import ipaddress
import logging
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar
from urllib.parse import urlsplit

from harness.analysis.compare import AXIS
from harness.run import elsewhere, groups
from harness.run.context import RunContext
from harness.run.elsewhere import Carried
from harness.run.fingerprint import differences, fingerprint
from harness.run.groups import Feed, Group
from harness.scenario.expand import Case
from punktfunk.addresses import Address
from punktfunk.errors import ClusterError, OpenClusterError, UsageError, WorkerMismatchError
from punktfunk.interfaces import interfaces
from punktfunk.printable import printable
from punktfunk.trust.open_trust import outward_interfaces, outward_networks

if TYPE_CHECKING:
    from distributed import Client, Future
    from distributed.security import Security

T = TypeVar("T")
R = TypeVar("R")
Placement: TypeAlias = dict[str, Any]
"""Keywords of ``Client.submit`` that say where a piece of work may run."""

LINK: Final = "link"
"""Resource that a worker offers where live cases may run, one for each at a time: ``--resources link=1``."""
MOST_WORKERS: Final = 256
CONNECT_S: Final = 30.0
WITHOUT_WORKERS_S: Final = 60.0
"""How long nobody may be there to do the work before a run ends: workers restart in less."""
LOCAL_TTL_S: Final = 60
"""A worker of ``local:N`` that is silent for so long is taken for frozen, and its work is done by another."""
_LOCAL: Final = {
    "distributed.scheduler.worker-ttl": f"{LOCAL_TTL_S}s",
    # What the library watches of a worker a hundred times a second takes a tenth of it.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
    # Pages that nobody opens, a look for GPUs, and moving results about that are fetched at once.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.diagnostics.nvml": False,
    "distributed.scheduler.active-memory-manager.start": False,
}
"""Configuration of ``local:N``."""
_AHEAD: Final = 2
"""Pieces under way for each slot: one that runs, and one that is there when it ends."""
_TICK_S: Final = 2.0
_RESUME: Final = "what came back is kept: go on with --resume once it answers again"
NAMESPACES: Final = tuple(ipaddress.ip_network(net) for net in ("10.77.0.0/16", "fd77::/16"))
"""Addresses of the harness's own network namespaces (``harness.network.topology``)."""


@contextmanager
def connected(on: str, *, insecure: bool = False) -> Iterator[Cluster]:
    """Yield the cluster that ``--on`` names: ``local:N`` or ``dask://HOST:PORT``; its workers run our code.

    Raises UsageError for another text, :class:`~punktfunk.errors.OpenClusterError` for an address that is not to be
    trusted, :class:`~punktfunk.errors.WorkerMismatchError` for workers of other code and
    :class:`~punktfunk.errors.ClusterError` where there is no cluster.
    """
    parsed = parse(on)
    try:
        import distributed  # noqa: F401 - looked for before anything is started
    except ImportError as error:
        raise ClusterError(
            f"--on wants the library distributed ({error})", "pip install 'punktfunk[cluster,harness]'"
        ) from error
    with ExitStack() as stack:
        stack.enter_context(_silenced("distributed"))
        if isinstance(parsed, int):
            cluster = Cluster(_local(stack, parsed), local=True)
        else:
            cluster = Cluster(_remote(stack, *parsed, insecure=insecure), local=False)
        cluster.check()
        yield cluster


@contextmanager
def _silenced(name: str) -> Iterator[None]:
    """Keep a library's log to what is critical: it tells of every comm that a lost worker closes.

    What matters of that is in our errors. Whoever else uses the library in this process has its log again afterwards.
    """
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def parse(on: str) -> int | tuple[str, int]:
    """Return the workers of ``local:N``, or host and port of ``dask://HOST:PORT``; raise UsageError for other texts."""
    kind, _, rest = on.partition(":")
    if kind == "local" and rest.isascii() and rest.isdecimal() and 1 <= int(rest[:6]) <= MOST_WORKERS:
        return int(rest)
    try:
        url = urlsplit(on)
        if url.scheme == "dask" and url.hostname and url.port and not url.path.strip("/") and not url.query:
            return url.hostname, url.port
    except ValueError:
        pass  # a port that is none: said below
    raise UsageError(
        f"--on {printable(on, 80)!r} names no cluster",
        f"local:N with N up to {MOST_WORKERS}, or dask://HOST:PORT of a scheduler",
    )


def trusted_in_the_clear(host: str) -> bool:
    """Return whether an address may be spoken to without TLS: nobody else can be behind it, between, or beside us.

    That is so in a network namespace of the harness, and nowhere else. On loopback of a machine its other users reach
    each port, and a port that nobody listens on yet is theirs to take.
    """
    try:
        address = ipaddress.ip_address(host.split("%", maxsplit=1)[0])
        inside = address.is_loopback or _of_a_namespace(address)
    except ValueError:
        inside = host == "localhost"
    # Other networks have such addresses too; ours are in namespaces that lead nowhere.
    return inside and _namespace_is_ours() and not (outward_interfaces() or outward_networks())


def _namespace_is_ours() -> bool:
    return any(_of_a_namespace(own.ip) for device in interfaces() for own in device.addresses)


def _of_a_namespace(address: Address) -> bool:
    return any(address in net for net in NAMESPACES if net.version == address.version)


class Cluster:
    """A connected cluster (an :class:`~harness.run.elsewhere.Elsewhere`)."""

    def __init__(self, client: Client, *, local: bool) -> None:
        self._client = client
        self._local = local
        self._workers: dict[str, dict[str, Any]] = {}
        self._seen = self._looked = time.monotonic()

    @property
    def slots(self) -> int:
        """Simulations that it runs at a time."""
        return max(1, sum(int(worker["nthreads"]) for worker in self._workers.values()))

    @property
    def carries_links(self) -> bool:
        """Whether a worker offers a link; workers of this machine do not: it carries live cases itself."""
        return not self._local and bool(self._offering())

    @property
    def local(self) -> bool:
        """Whether its workers are processes of this machine that end with us."""
        return self._local

    def check(self) -> None:
        """Raise WorkerMismatchError unless every worker runs the code that runs here; ClusterError without workers."""
        try:
            self._client.wait_for_workers(1, timeout=CONNECT_S)
            found = self._client.run(fingerprint, on_error="return")
            self._look()
        except (OSError, TimeoutError) as error:
            raise ClusterError(
                f"the cluster has no worker ({error})", "start one: dask worker HOST:PORT"
            ) from error
        here = fingerprint()
        for address, there in sorted(found.items()):
            if not isinstance(there, dict):
                said = f"{type(there).__name__}: {there}"
                raise WorkerMismatchError(
                    f"worker {printable(address, 80)} cannot run punktfunk: {printable(said, 200)}",
                    "install the same punktfunk[cluster,harness] there",
                )
            odd = differences(here, {str(name): str(value) for name, value in there.items()})
            if odd:
                raise WorkerMismatchError(
                    f"worker {printable(address, 80)} runs other code: {printable('; '.join(odd), 400)}",
                    "install the same version there, and start the worker again",
                )

    def rows(self, feed: Feed[Group], context: RunContext) -> Iterator[tuple[Group, bytes | None]]:
        """See Elsewhere."""
        here = fingerprint()

        def piece(group: Group) -> tuple[Any, ...]:
            return guarded, here, groups.tabulated, group, context

        for group, answer in self._through(feed, lambda _: {}, piece):
            yield group, answer if isinstance(answer, bytes) else None

    def cases(self, cases: Sequence[Case], context: RunContext) -> Iterator[tuple[Case, Carried | str]]:
        """See Elsewhere."""
        here = fingerprint()
        feed = Feed(groups.grouped(enumerate(cases), len(cases)))

        def piece(group: Group) -> tuple[Any, ...]:
            return guarded, here, _carried, group.cases, context, True

        for group, answer in self._through(feed, lambda _: {}, piece):
            if answer is not None:
                yield from zip(group.cases, answer, strict=True)
            elif len(group.cases) > 1:
                feed.give_back(group.halves())
            else:
                yield group.cases[0], "every worker that had it died (out of memory, or killed)"

    def links(self, cases: Sequence[Case], context: RunContext) -> Iterator[tuple[Case, Carried | str]]:
        """See Elsewhere. Sides of an A/B comparison all run on one worker: two machines have two latencies."""
        here = fingerprint()
        one = min(self._offering(), default="")

        def place(case: Case) -> Placement:
            pinned = {"workers": [one], "allow_other_workers": False} if AXIS in case.params and one else {}
            return {"resources": {LINK: 1}, **pinned}

        def piece(case: Case) -> tuple[Any, ...]:
            return guarded, here, _carried, (case,), context, False

        for case, answer in self._through(Feed(cases), place, piece):
            yield case, answer[0] if answer is not None else "every worker that had it was lost"

    def _through(
        self, feed: Feed[T], place: Callable[[T], Placement], piece: Callable[[T], tuple[Any, ...]]
    ) -> Iterator[tuple[T, Any]]:
        """Hand out work and yield each piece with its answer as they end; None where one worker after another died."""
        ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        running: dict[Any, tuple[Future[Any], T]] = {}
        try:
            while True:
                while len(running) < _AHEAD * self.slots + 1 and (work := feed.take()) is not None:
                    call, *arguments = piece(work)
                    future = self._submit(call, arguments, place(work))
                    running[future.key] = (future, work)
                    future.add_done_callback(ended.put)
                if not running:
                    return
                try:
                    future = ended.get(timeout=_TICK_S)
                except queue.Empty:
                    pass
                else:
                    _, work = running.pop(future.key)
                    yield work, self._answer(future)
                if time.monotonic() - self._looked >= _TICK_S:
                    self._watch([place(work) for _, work in running.values()])
        finally:
            if running and self._client.status == "running":
                self._client.cancel([future for future, _ in running.values()], force=True)

    def _submit(self, call: Callable[..., Any], arguments: Sequence[Any], where: Placement) -> Future[Any]:
        from distributed.client import FutureCancelledError

        try:
            return self._client.submit(call, *arguments, pure=False, **where)
        except (OSError, FutureCancelledError, RuntimeError, ValueError) as error:
            raise ClusterError(f"the scheduler takes no work any more ({error})", _RESUME) from error

    def _answer(self, future: Future[Any]) -> Any:
        from concurrent.futures import CancelledError

        from distributed import KilledWorker

        try:
            answer = future.result()
        except KilledWorker:
            return None
        except (CancelledError, OSError, TimeoutError) as error:
            raise ClusterError(f"the scheduler was lost ({printable(str(error), 200)})", _RESUME) from error
        except Exception as error:
            raise ClusterError(
                f"a worker could not do its work: {type(error).__name__}: {printable(str(error), 300)}",
                _RESUME,
            ) from error
        finally:
            future.release()
        if isinstance(answer, Mismatch):
            raise WorkerMismatchError(
                f"a worker that joined runs other code: {printable(answer.said, 400)}",
                "install the same version there, start the worker again, and go on with --resume",
            )
        return answer

    def _watch(self, places: Sequence[Placement]) -> None:
        """Raise ClusterError where nobody has been there for long who could do what is under way."""
        if self._client.status not in {"running", "connecting"}:
            raise ClusterError("the scheduler was lost", _RESUME)
        try:
            self._look()
        except (OSError, TimeoutError) as error:
            raise ClusterError(f"the scheduler was lost ({error})", _RESUME) from error
        able = all(self._able(place) for place in places)
        self._seen = time.monotonic() if able else self._seen
        if time.monotonic() - self._seen > WITHOUT_WORKERS_S:
            missing = f"no worker offers {LINK}=1" if self._workers else "the cluster has no worker"
            raise ClusterError(f"{missing} any more", _RESUME)

    def _able(self, place: Placement) -> bool:
        fit = self._offering() if "resources" in place else list(self._workers)
        return any(address in place.get("workers", fit) for address in fit)

    def _offering(self) -> list[str]:
        return [a for a, worker in self._workers.items() if worker.get("resources", {}).get(LINK, 0) >= 1]

    def _look(self) -> None:
        self._workers = dict(self._client.scheduler_info(n_workers=-1)["workers"])
        self._looked = time.monotonic()


class Mismatch:
    """What a worker of other code answers in place of results."""

    def __init__(self, said: str) -> None:
        self.said = said


def guarded(here: dict[str, str], call: Callable[..., R], *arguments: Any) -> R | Mismatch:
    """Call a function in a worker, if that runs the code of whoever sent it: a worker may join at any time."""
    odd = differences(here, fingerprint())
    return Mismatch("; ".join(odd)) if odd else call(*arguments)


def _carried(cases: Sequence[Case], context: RunContext, simulated: bool) -> list[Carried]:
    return elsewhere.carried(cases, context, simulated=simulated)


def _local(stack: ExitStack, workers: int) -> Client:
    """Start workers of this machine that end with us. Other users of the machine reach their ports, so TLS it is."""
    import dask
    from distributed import Client, LocalCluster
    from distributed.security import Security

    stack.enter_context(dask.config.set(_LOCAL))
    security = Security.temporary()
    started = stack.enter_context(
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            protocol="tls://",
            security=security,
            dashboard_address="127.0.0.1:0",  # it cannot be left out; there it disturbs nobody
            memory_limit=0,
            silence_logs=logging.CRITICAL,
        )
    )
    return _closed_by(stack, Client(started, security=security, set_as_default=False))


def _remote(stack: ExitStack, host: str, port: int, *, insecure: bool) -> Client:
    from distributed import Client
    from distributed.security import Security

    security = Security()
    encrypted = _has_tls(security)
    if not encrypted and not insecure and not trusted_in_the_clear(host):
        raise OpenClusterError(
            f"the cluster at {printable(host, 80)} would be spoken to without TLS, and what it sends is unpickled "
            "here: whoever answers at that address, or stands between, runs code as you",
            "on this machine take --on local:N; else give the parts certificates (docs/how-to/run-on-a-cluster.md), or "
            "say --insecure-cluster where no other user and no other machine reaches it",
        )
    literal = f"[{host}]" if ":" in host else host
    address = f"{'tls' if encrypted else 'tcp'}://{literal}:{port}"
    try:
        client = Client(
            address,
            security=security if encrypted else None,
            timeout=CONNECT_S,
            set_as_default=False,
        )
    except (OSError, TimeoutError) as error:
        raise ClusterError(
            f"no scheduler answers at {printable(address, 120)} ({printable(str(error), 200)})",
            "start one: dask scheduler (docs/how-to/run-on-a-cluster.md)",
        ) from error
    return _closed_by(stack, client)


def _closed_by(stack: ExitStack, client: Client) -> Client:
    """Have ``stack`` close the client, whatever the library makes of that."""

    def close() -> None:
        # A lost scheduler is connected to anew meanwhile, and how that fails comes out here: it would hide the run's
        # own error, which says what happened.
        with suppress(OSError, RuntimeError, ValueError):
            client.close()

    stack.callback(close)
    return client


def _has_tls(security: Security) -> bool:
    """Return whether distributed's own configuration (``distributed.comm.tls``) has what a client needs."""
    found = security.get_tls_config_for_role("client")
    return bool(found.get("ca_file") and found.get("cert") and found.get("key"))
