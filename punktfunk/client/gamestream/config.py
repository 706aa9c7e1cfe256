"""What the GameStream client is started with: one validated model for command line, files and tests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from punktfunk.client.gamestream.wish import LAN_PACKET_BYTES, StreamWish
from punktfunk.gamestream.describe import Encryption
from punktfunk.media import Codec, TestCardSpec
from punktfunk.units import Bitrate, Mode


class GameStreamConfig(BaseModel):
    """Configuration of one stream from a GameStream host that was paired with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    address: str
    """``HOST[:PORT]``, the port being that of HTTP; 47989 where there is none."""
    state_dir: Path
    """Folder of this client's identity and of the hosts that it was paired with."""
    app: str | None = None
    """Title or number of the app to launch; without one what runs is resumed, or the first of the list is launched."""
    quit_after: bool = False
    """End the app with the stream."""

    mode: Mode = Mode(1280, 720, 60)
    bitrate: Bitrate = Bitrate.from_kbps(20_000)
    """For everything: video with FEC, sound, headers."""
    codecs: Annotated[list[Codec], Field(min_length=1)] = [Codec.H264]
    """Codecs to take, the preferred one first."""
    packet_bytes: Annotated[int, Field(ge=256, le=1456, multiple_of=16)] = LAN_PACKET_BYTES
    slices: Annotated[int, Field(ge=1, le=8)] = 1
    channels: Literal[2, 6, 8] = 2
    high_quality_sound: bool = True
    sound_packet_ms: Literal[5, 10] = 5
    encrypt_video: bool = False
    encrypt_sound: bool = False
    encrypted_rtsp: bool = True
    host_audio: bool = False
    """Have the host's speakers go on playing."""
    keep_gamepads: bool = False
    """Have gamepads stay plugged in at the host when the client leaves."""
    seconds: Annotated[float, Field(gt=0)] | None = None
    """End after this long; ``None`` stays until the host ends the stream."""

    decode: bool = True
    """Decode video and sound; switched off, access units and packets are received and counted only."""
    read_strip: bool = True
    """Read the frame marker of every decoded picture."""
    reference: TestCardSpec | None = None
    """Draw this test card again and compare: PSNR and SSIM of luma."""
    reference_every: Annotated[int, Field(ge=1)] = 1
    recovery: bool = True
    """Ask for an IDR frame when a frame is lost."""
    hold_undecodable: bool = True
    """Keep frames whose references are lost away from the decoder until the next IDR frame."""
    queue_frames: Annotated[int, Field(ge=1, le=1024)] = 16
    receive_buffer_bytes: Annotated[int, Field(ge=4096)] = 32 * 1024 * 1024

    artefacts: Path | None = None
    """Folder for ``records.npz``, ``decoded.npz``, ``sound.wav`` and ``stats.json``."""
    record_frames: bool = True
    out: Path | None = None
    """File to write access units to."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.reference is not None and not self.decode:
            raise ValueError("what is not decoded cannot be compared with a reference")
        return self

    @property
    def wish(self) -> StreamWish:
        """What the host is asked for."""
        encryption = Encryption.CONTROL_V2
        if self.encrypt_video:
            encryption |= Encryption.VIDEO
        if self.encrypt_sound:
            encryption |= Encryption.AUDIO
        return StreamWish(
            mode=self.mode,
            bitrate=self.bitrate,
            codecs=tuple(self.codecs),
            packet_bytes=self.packet_bytes,
            channels=self.channels,
            high_quality_sound=self.high_quality_sound,
            packet_ms=self.sound_packet_ms,
            encryption=encryption,
            slices=self.slices,
        )
