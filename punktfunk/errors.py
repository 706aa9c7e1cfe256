"""The one tree of errors.

::

    PunktfunkError                  exit 5  PF000
    ├── UsageError                  exit 2  PF100  flags or configuration that are invalid
    │   └── ConfigError             exit 2  PF110  a configuration file or value
    │       └── UnitError           exit 2  PF111  text that is no quantity with a unit
    ├── CapabilityError             exit 4  PF200  this machine cannot do it (says what would fix it)
    │   ├── CursorPaintedError      exit 4  PF530  the desktop gives its pointer in its pictures alone
    │   ├── CodecUnavailableError   exit 4  PF210  an encoder or decoder is missing
    │   │   ├── DriverMissingError    exit 4  PF211  the GPU's driver, or the part of it that encodes
    │   │   ├── EngineMissingError    exit 4  PF212  the GPU has no engine that encodes
    │   │   ├── CodecUnsupportedError exit 4  PF213  the GPU's engine does not make this codec
    │   │   └── DeviceMissingError    exit 4  PF540  there is no GPU to encode with, or it may not be opened
    │   ├── PrivilegeError          exit 4  PF220  root or a capability is missing
    │   ├── CapacityFullError       exit 4  PF230  as many streams run as may
    │   ├── AppRunningError         exit 4  PF231  another app runs where the one that was asked for would
    │   ├── BusyMachineError        exit 4  PF240  other programs take too much of this machine for what is measured
    │   ├── GamescopeMissingError   exit 4  PF520  gamescope, or a part of it that is needed, is missing
    │   ├── DmaBufMissingError      exit 4  PF521  Vulkan cannot share its pictures here (no DMA-BUF)
    │   └── VulkanMissingError      exit 4  PF522  there is no Vulkan driver
    ├── CoreError                   exit 5  PF300  the native core refused
    │   ├── InvalidConfigError      exit 2  PF301  stream parameters outside the wire's limits
    │   ├── FecError                exit 5  PF310  too few shards, or a geometry no code can carry
    │   ├── CryptoError             exit 5  PF320  a seal or an open failed outside the data plane
    │   └── SessionClosedError      exit 5  PF330  the session has ended
    ├── ProtocolError               exit 5  PF400  the peer broke the control protocol
    │   ├── HandshakeError          exit 5  PF410  the handshake did not complete
    │   │   ├── HostNotFoundError     exit 5  PF580  no host is called that
    │   │   ├── HostUnreachableError  exit 5  PF581  no machine answers at that address, or no route leads there
    │   │   ├── PortClosedError       exit 5  PF582  the machine answers, and nothing listens on the port
    │   │   ├── PortFilteredError     exit 5  PF583  a firewall says that it lets nobody through to the port
    │   │   └── NoAnswerError         exit 5  PF584  nothing comes back: a silent firewall, a machine that is off
    │   ├── RejectedError           exit 1  PF420  the host refused this client (carries the close code)
    │   ├── StatusError             exit 1  PF450  a request of GameStream that is refused (carries the status code)
    │   ├── UntrustedPeerError      exit 1  PF430  pin mismatch, or open trust off loopback
    │   └── PairingError            exit 1  PF440  a pairing did not come about
    │       └── PairingRefusedError exit 1  PF441  not armed, bound to another device, or cooling down
    ├── TrustStoreError             exit 5  PF700  the list of paired clients cannot be read or written
    ├── MediaError                  exit 5  PF500  an encoder, decoder or source failed
    │   ├── SourceLostError         exit 5  PF510  what was streamed has gone
    │   ├── EncoderFailedError      exit 5  PF541  an encoder that was open failed on a picture or a new rate
    │   └── DmaBufError             exit 5  PF550  a picture in a DMA-BUF cannot be taken as it is
    │       ├── LayoutError         exit 5  PF551  nobody here can read the layout that it has
    │       └── ImportRefusedError  exit 5  PF552  the encoder did not import it
    ├── ServiceError                exit 5  PF560  a service manager did not do what it was asked for
    │   ├── NoServiceManagerError   exit 4  PF561  no service manager of this user answers
    │   ├── LingerError             exit 4  PF562  services of this user may not run without a login
    │   └── ForeignFileError        exit 2  PF563  a file of the machine that punktfunk did not write, or not as it is
    ├── ManagementError             exit 5  PF710  a running host's management API does not answer as it should
    │   └── CredentialError         exit 2  PF711  its token or its password file cannot be used
    ├── SettingsError               exit 5  PF720  the settings of a host cannot be read or written
    ├── DesktopError                exit 5  PF800  a compositor, its input or its sound failed
    │   ├── ConsentRefusedError     exit 1  PF810  a person at the desktop refused to share it
    │   └── ConsentAwaitedError     exit 1  PF811  a person at the desktop was asked, and has not answered
    └── HarnessError                exit 5  PF600  the harness itself is at fault
        ├── ScenarioError           exit 2  PF610  a scenario file is wrong (file:line:column, caret, hint)
        ├── LinkUnverifiedError     exit 5  PF620  the link is not what was asked for
        ├── LedgerError             exit 5  PF630  packets or frames unaccounted for
        ├── ResultsError            exit 5  PF640  results could not be written or read
        │   └── LaterVersionError   exit 5  PF641  a later version of the harness wrote them
        ├── ClusterError            exit 5  PF680  a cluster that ran cases cannot be reached, or was lost
        │   ├── WorkerMismatchError exit 4  PF681  a worker runs other code than this process
        │   └── OpenClusterError    exit 2  PF682  a cluster whose peers prove nothing is not trusted
        ├── CheckFailedError        exit 1  PF650  an expectation did not hold
        ├── BuildError              exit 5  PF670  a build of the project could not be made, or does not run
        │   └── BuildTooOldError      exit 4  PF671  a build that cannot take part: older than what it is asked for
        ├── BisectError             exit 1  PF672  no commit could be named
        └── RegressionError         exit 3  PF660  worse than the baseline

Exit codes: 0 passed · 1 a check failed · 2 usage or scenario invalid · 3 regression against baseline ·
4 this machine cannot run it · 5 harness fault · 130 interrupted, partial results kept.

Input from the network never raises one of these past its session: it becomes a counted, named drop.
"""

from __future__ import annotations

from typing import ClassVar

from punktfunk.printable import printable_lines


class PunktfunkError(Exception):
    """What went wrong, in one line, and what to do about it, in another.

    ``cause`` is one line without a full stop at its start or end of a stack trace; ``hint`` is the next step
    for the person who reads it ("" when there is none). ``code`` is stable and may be searched for. Both are made
    printable here: what a peer or a file said is often part of them.
    """

    code: ClassVar[str] = "PF000"
    exit_code: ClassVar[int] = 5

    def __init__(self, cause: str, hint: str = "") -> None:
        self.cause = printable_lines(cause)
        self.hint = printable_lines(hint)
        super().__init__(self.cause)

    def __str__(self) -> str:
        return f"{self.cause} [{self.code}]" + (f"\n  → {self.hint}" if self.hint else "")


class UsageError(PunktfunkError):
    """Invalid flags or values."""

    code = "PF100"
    exit_code = 2


class ConfigError(UsageError):
    """A configuration file or value is wrong."""

    code = "PF110"


class UnitError(ConfigError, ValueError):
    """A text is not the quantity it should be; also a ValueError, so that pydantic reports it in place."""

    code = "PF111"


class CapabilityError(PunktfunkError):
    """This machine cannot do what was asked."""

    code = "PF200"
    exit_code = 4


class CursorPaintedError(CapabilityError):
    """The pointer is to be told beside the pictures, and what is streamed has it in them, or has none."""

    code = "PF530"


class CodecUnavailableError(CapabilityError):
    """An encoder or decoder is not present in the installed FFmpeg or on this GPU."""

    code = "PF210"


class DriverMissingError(CodecUnavailableError):
    """A GPU's driver, or the part of it that encodes, is not there or sees no GPU."""

    code = "PF211"


class EngineMissingError(CodecUnavailableError):
    """The GPU has no engine that encodes video."""

    code = "PF212"


class CodecUnsupportedError(CodecUnavailableError):
    """The GPU encodes video, but not in this codec."""

    code = "PF213"


class DeviceMissingError(CodecUnavailableError):
    """There is no GPU that pictures could be encoded with, or this user may not open it."""

    code = "PF540"


class PrivilegeError(CapabilityError):
    """Root or a capability is missing."""

    code = "PF220"


class CapacityFullError(CapabilityError):
    """As many streams run as may, those of the client that asks left out."""

    code = "PF230"


class AppRunningError(CapabilityError):
    """Another app runs where the one that was asked for would run."""

    code = "PF231"


class BusyMachineError(CapabilityError):
    """Other programs take too much of this machine for a figure that is asked for."""

    code = "PF240"


class GamescopeMissingError(CapabilityError):
    """gamescope is not installed, or lacks what is needed of it."""

    code = "PF520"


class DmaBufMissingError(CapabilityError):
    """Vulkan cannot share pictures on this machine, which gamescope's stream is made of."""

    code = "PF521"


class VulkanMissingError(CapabilityError):
    """There is no Vulkan driver on this machine."""

    code = "PF522"


class CoreError(PunktfunkError):
    """The native core refused."""

    code = "PF300"


class InvalidConfigError(CoreError):
    """Stream parameters are outside the limits of the wire (punktfunk/1 section 2.6)."""

    code = "PF301"
    exit_code = 2


class FecError(CoreError):
    """Too few shards to rebuild a block, or a geometry that no code can carry."""

    code = "PF310"


class CryptoError(CoreError):
    """A seal or an open failed outside the data plane, where failures are only counted."""

    code = "PF320"


class SessionClosedError(CoreError):
    """The session has ended: nothing more will be sent or received on it."""

    code = "PF330"


class ProtocolError(PunktfunkError):
    """The peer broke the control protocol."""

    code = "PF400"


class HandshakeError(ProtocolError):
    """The handshake did not complete."""

    code = "PF410"


class HostNotFoundError(HandshakeError):
    """No host is called that: neither an announcement nor the name service knows the name."""

    code = "PF580"


class HostUnreachableError(HandshakeError):
    """No machine answers at the address, or this machine has no route there."""

    code = "PF581"


class PortClosedError(HandshakeError):
    """The machine was found and answers, and nothing listens on the port."""

    code = "PF582"


class PortFilteredError(HandshakeError):
    """A firewall, the machine's own or one on the way, answers that it lets nobody through to the port."""

    code = "PF583"


class NoAnswerError(HandshakeError):
    """Nothing came back: a firewall drops what is sent, the machine is off, or the host hangs."""

    code = "PF584"


class RejectedError(ProtocolError):
    """The host refused this client; ``close_code`` is the application close code it sent."""

    code = "PF420"
    exit_code = 1

    def __init__(self, cause: str, hint: str = "", *, close_code: int | None = None) -> None:
        super().__init__(cause, hint)
        self.close_code = close_code


class StatusError(ProtocolError):
    """A request of GameStream is refused, by HTTP or RTSP; ``status`` is what its client is answered with, and shows.

    Clients show ``cause`` too, as the words that go with the status (gamestream section 2.1).
    """

    code = "PF450"
    exit_code = 1

    def __init__(self, cause: str, hint: str = "", *, status: int) -> None:
        super().__init__(cause, hint)
        self.status = status


class UntrustedPeerError(ProtocolError):
    """The peer's certificate is not the pinned one, or open trust was asked for off loopback."""

    code = "PF430"
    exit_code = 1


class PairingError(ProtocolError):
    """A pairing did not come about: wrong PIN, not armed, or a message that is none."""

    code = "PF440"
    exit_code = 1


class PairingRefusedError(PairingError):
    """A host refuses to pair before anything was computed; ``close_code`` is what the client is told."""

    code = "PF441"

    def __init__(self, cause: str, hint: str = "", *, close_code: int) -> None:
        super().__init__(cause, hint)
        self.close_code = close_code


class TrustStoreError(PunktfunkError):
    """The list of paired clients cannot be read or written; nothing was changed."""

    code = "PF700"


class ManagementError(PunktfunkError):
    """The management API of a running host cannot be reached, or does not answer as it should."""

    code = "PF710"


class CredentialError(ManagementError):
    """The token or the password file of the management API cannot be used, so nothing was started with it."""

    code = "PF711"
    exit_code = 2


class SettingsError(PunktfunkError):
    """The settings of a host cannot be read or written; nothing was changed."""

    code = "PF720"


class ServiceError(PunktfunkError):
    """A service manager refused an order, or the host that it started failed."""

    code = "PF560"


class NoServiceManagerError(ServiceError):
    """No service manager of this user answers: the machine has none, or this is no login of the user."""

    code = "PF561"
    exit_code = 4


class LingerError(ServiceError):
    """This user may not keep services running without being logged in."""

    code = "PF562"
    exit_code = 4


class ForeignFileError(ServiceError):
    """A unit or a rule stands where ours would, and is not as this installation of punktfunk wrote it."""

    code = "PF563"
    exit_code = 2


class MediaError(PunktfunkError):
    """An encoder, a decoder or a source failed."""

    code = "PF500"


class SourceLostError(MediaError):
    """A source gives no pictures any more; the encoder is as it was."""

    code = "PF510"


class EncoderFailedError(MediaError):
    """An encoder that was open failed on a picture or on a new rate; another one may go on."""

    code = "PF541"


class DmaBufError(MediaError):
    """A picture in a DMA-BUF cannot be taken as it is; another one, or the same in memory, may do."""

    code = "PF550"


class LayoutError(DmaBufError):
    """A DMA-BUF has a layout that the encoder does not import and a processor cannot read."""

    code = "PF551"


class ImportRefusedError(DmaBufError):
    """An encoder did not import a DMA-BUF of a kind that it said it imports."""

    code = "PF552"


class DesktopError(PunktfunkError):
    """A compositor, its input or its sound failed or has gone."""

    code = "PF800"


class ConsentRefusedError(DesktopError):
    """The desktop asked whether it may be shared, and the answer was no."""

    code = "PF810"
    exit_code = 1


class ConsentAwaitedError(DesktopError):
    """The desktop asks whether it may be shared, and nobody has answered yet."""

    code = "PF811"
    exit_code = 1


class SharingStoppedError(DesktopError):
    """Somebody at the desktop has stopped sharing it: its streams end, and nothing shows it again for a while."""

    code = "PF812"
    exit_code = 1


class HarnessError(PunktfunkError):
    """The harness itself is at fault, not the system under test."""

    code = "PF600"


class ScenarioError(HarnessError):
    """A scenario file is wrong; the text carries file:line:column, the line, a caret and a hint."""

    code = "PF610"
    exit_code = 2


class LinkUnverifiedError(HarnessError):
    """The link was probed and is not what the scenario asked for, so nothing is reported on it."""

    code = "PF620"


class LedgerError(HarnessError):
    """Packets or frames are unaccounted for."""

    code = "PF630"


class ResultsError(HarnessError):
    """Results could not be written or read; what was finished before is kept."""

    code = "PF640"


class LaterVersionError(ResultsError):
    """Results were written by a later version: nothing is wrong with them."""

    code = "PF641"


class ClusterError(HarnessError):
    """A cluster that ran cases cannot be reached, or was lost; what came back before is kept."""

    code = "PF680"


class WorkerMismatchError(ClusterError):
    """A worker runs other code than this process: its results would not be those of this code."""

    code = "PF681"
    exit_code = 4


class OpenClusterError(ClusterError):
    """A cluster would be spoken to over a network without TLS, where whoever answers runs code here."""

    code = "PF682"
    exit_code = 2


class CheckFailedError(HarnessError):
    """An expectation did not hold."""

    code = "PF650"
    exit_code = 1


class RegressionError(HarnessError):
    """A metric is worse than its baseline by more than chance and tolerance allow."""

    code = "PF660"
    exit_code = 3


class BuildError(HarnessError):
    """A build of the project could not be made, or does not run."""

    code = "PF670"


class BuildTooOldError(BuildError):
    """A build cannot take part: its harness is older than what it is asked for."""

    code = "PF671"
    exit_code = 4


class BisectError(HarnessError):
    """A search over the history ended without a commit."""

    code = "PF672"
    exit_code = 1
