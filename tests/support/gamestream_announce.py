"""What a client announces, as clients write it (gamestream section 5.5)."""

from __future__ import annotations

NEEDED = {
    "x-nv-video[0].clientViewportWd": "1280",
    "x-nv-video[0].clientViewportHt": "720",
    "x-nv-video[0].maxFPS": "60",
    "x-nv-video[0].packetSize": "1392",
    "x-nv-vqos[0].bw.maximumBitrateKbps": "8000",
    "x-nv-video[0].videoEncoderSlicesPerFrame": "4",
    "x-nv-video[0].maxNumReferenceFrames": "1",
    "x-nv-audio.surround.numChannels": "2",
    "x-nv-audio.surround.AudioQuality": "0",
}
MODERN = {
    **NEEDED,
    "x-ml-general.featureFlags": "3",
    "x-ss-general.encryptionEnabled": "3",
    "x-ss-video[0].chromaSamplingType": "1",
    "x-ml-video.configuredBitrateKbps": "20000",
    "x-nv-general.featureFlags": "135",
    "x-nv-general.useReliableUdp": "13",
    "x-nv-vqos[0].fec.minRequiredFecPackets": "2",
    "x-nv-vqos[0].bitStreamFormat": "1",
    "x-nv-video[0].dynamicRangeMode": "1",
    "x-nv-video[0].clientRefreshRateX100": "5994",
    "x-nv-aqos.packetDuration": "10",
    "x-nv-video[0].encoderCscMode": "5",
    "x-nv-vqos[0].qosTrafficType": "0",
    "x-nv-aqos.qosTrafficType": "0",
    "x-ss-video[0].intraRefresh": "1",
}


def payload(attributes: dict[str, str]) -> bytes:
    lines = [f"a={name}:{value} \r\n" for name, value in attributes.items()]
    head = "v=0\r\no=android 0 14 IN IPv4 10.0.0.2\r\ns=NVIDIA Streaming Client\r\n"
    return (head + "".join(lines) + "t=0 0\r\nm=video 47998  \r\n").encode()
