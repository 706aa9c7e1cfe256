//! Sound of GameStream in the C ABI. It knows no time: a packet is one Opus packet, and two of recovery follow every fourth.

use std::collections::VecDeque;

use super::config::Role;
use super::sized::{self, Growing};
use super::{PunktfunkStatus, bytes_of, guard, write_to};
use crate::audio::{AudioCipher, AudioReceiver, AudioSender, MAX_PACKET_BYTES, Sound};

/// Opus packets that may wait to be fetched; one more drops the oldest.
const MAX_SOUNDS: usize = 64;

/// What both ends of a stream of GameStream sound agree on, and which of them this is. Set all of it to 0 first, then
/// `struct_size` to `sizeof(PunktfunkGameStreamAudioConfig)`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct PunktfunkGameStreamAudioConfig {
    /// Bytes of this struct as the caller knows it.
    pub struct_size: u32,
    /// 0 host, 1 client.
    pub role: u32,
    /// Host: what an Opus packet lasts, 5 or 10 ms.
    pub packet_ms: u32,
    /// Not 0: sound is encrypted with `key` and `rikeyid`.
    pub encrypt: u32,
    /// AES-128 key (`rikey`); not all zero if `encrypt` is set.
    pub key: [u8; 16],
    /// `rikeyid`, which may be negative.
    pub rikeyid: i32,
}

const _: () = assert!(size_of::<PunktfunkGameStreamAudioConfig>() == 36);

// SAFETY: integers of at most four bytes, each behind a multiple of four; no padding.
unsafe impl Growing for PunktfunkGameStreamAudioConfig {
    const FIRST_BYTES: usize = 36;
}

/// A datagram to send. `data` belongs to the handle and is valid until the next call on it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct PunktfunkDatagram {
    /// First byte.
    pub data: *const u8,
    /// Bytes.
    pub len: usize,
}

/// An Opus packet in its turn. `data` belongs to the handle and is valid until the next call on it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct PunktfunkSound {
    /// First byte.
    pub data: *const u8,
    /// Bytes.
    pub len: usize,
    /// Number in the stream; it does not wrap.
    pub sequence: u64,
    /// Packets that are lost between the one before and this one.
    pub gap: u64,
    /// 1 where recovery packets gave it back.
    pub recovered: u32,
}

/// Counters of received sound. Set `struct_size` to `sizeof(PunktfunkAudioStats)`.
///
/// `received = data + recovery + rejected + late + duplicate`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PunktfunkAudioStats {
    /// Bytes of this struct as the caller knows it.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Datagrams.
    pub received: u64,
    /// Of these, Opus packets.
    pub data: u64,
    /// Of these, recovery packets.
    pub recovery: u64,
    /// Of these, no packets of sound, or far from every other one.
    pub rejected: u64,
    /// Of these, those whose turn was over.
    pub late: u64,
    /// Of these, those that had come before, or were recovered.
    pub duplicate: u64,
    /// Opus packets that had their turn.
    pub delivered: u64,
    /// Of these, those that recovery packets gave back.
    pub recovered: u64,
    /// Opus packets that did not come.
    pub lost: u64,
    /// Of these, those that came and did not decrypt.
    pub undecryptable: u64,
    /// Delivered packets that nobody fetched in time.
    pub unfetched: u64,
}

const _: () = assert!(size_of::<PunktfunkAudioStats>() == 96);

// SAFETY: two integers of four bytes and eleven of eight; no padding.
unsafe impl Growing for PunktfunkAudioStats {
    const FIRST_BYTES: usize = 96;
}

/// One end of a stream of sound. Calls on one handle must not overlap.
pub struct PunktfunkAudio {
    end: End,
    /// What the last poll handed out.
    held: Vec<u8>,
}

enum End {
    Sender(AudioSender, VecDeque<Vec<u8>>),
    Receiver(AudioReceiver, Waiting),
}

/// What is in turn and not fetched yet.
#[derive(Default)]
struct Waiting {
    sounds: VecDeque<Sound>,
    unfetched: u64,
}

impl Waiting {
    fn take_from(&mut self, receiver: &mut AudioReceiver) {
        while let Some(sound) = receiver.poll() {
            if self.sounds.len() == MAX_SOUNDS {
                self.sounds.pop_front();
                self.unfetched += 1;
            }
            self.sounds.push_back(sound);
        }
    }
}

impl PunktfunkGameStreamAudioConfig {
    fn end(&self) -> Result<End, PunktfunkStatus> {
        let invalid = PunktfunkStatus::InvalidArg;
        let encrypt = self.encrypt != 0;
        if encrypt && self.key == [0; 16] {
            return Err(invalid);
        }
        let cipher = encrypt.then(|| AudioCipher::new(self.key, self.rikeyid));
        Ok(match Role::parse(self.role)? {
            Role::Host => {
                let sender = AudioSender::new(cipher, self.packet_ms).map_err(|_| invalid)?;
                End::Sender(sender, VecDeque::new())
            }
            Role::Client => End::Receiver(AudioReceiver::new(cipher), Waiting::default()),
        })
    }
}

/// Make one end of a stream of GameStream sound, which its caller drives.
///
/// # Safety
/// `config` must be NULL or point to a struct of `struct_size` bytes, `audio` NULL or writable. It is set only when
/// `PUNKTFUNK_STATUS_OK` is returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_gamestream_audio_open(
    config: *const PunktfunkGameStreamAudioConfig,
    audio: *mut *mut PunktfunkAudio,
) -> PunktfunkStatus {
    guard(|| {
        // SAFETY: promised by the caller.
        let config = unsafe { sized::read(config)? };
        if audio.is_null() {
            return Err(PunktfunkStatus::NullPointer);
        }
        let made = Box::new(PunktfunkAudio {
            end: config.end()?,
            held: Vec::new(),
        });
        // SAFETY: promised writable by the caller.
        unsafe { write_to(audio, Box::into_raw(made)) }
    })
}

/// Free a handle of sound; NULL is ignored.
///
/// # Safety
/// `audio` must be NULL or a handle of this interface that was not freed before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_audio_free(audio: *mut PunktfunkAudio) {
    if audio.is_null() {
        return;
    }
    guard(|| {
        // SAFETY: handles come from `Box::into_raw`, and the caller promises to free each once.
        drop(unsafe { Box::from_raw(audio) });
        Ok(())
    });
}

/// # Safety
/// `audio` must be NULL or a live handle that no other call is using.
unsafe fn audio_of<'a>(
    audio: *mut PunktfunkAudio,
) -> Result<&'a mut PunktfunkAudio, PunktfunkStatus> {
    // SAFETY: promised by the caller.
    unsafe { audio.as_mut() }.ok_or(PunktfunkStatus::NullPointer)
}

/// Make the datagrams of the next Opus packet, which `punktfunk_audio_poll_datagram` fetches: its own, and behind every fourth
/// two of recovery. What was not fetched before is dropped. All Opus packets of a stream have one length: another, or one that
/// does not fit, is `PUNKTFUNK_STATUS_INVALID_ARG`, and no number is used up.
///
/// # Safety
/// `audio` must be NULL or a live handle; `opus` must be readable for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_audio_submit(
    audio: *mut PunktfunkAudio,
    opus: *const u8,
    len: usize,
) -> PunktfunkStatus {
    guard(|| {
        // SAFETY: promised by the caller.
        let (audio, opus) = unsafe { (audio_of(audio)?, bytes_of(opus, len)?) };
        let End::Sender(sender, waiting) = &mut audio.end else {
            return Err(PunktfunkStatus::InvalidArg);
        };
        let packets = sender.packet(opus);
        *waiting = packets.map_err(|_| PunktfunkStatus::InvalidArg)?.into();
        Ok(())
    })
}

/// Fetch the next datagram to send, or `PUNKTFUNK_STATUS_NO_FRAME`.
///
/// # Safety
/// `audio` must be NULL or a live handle, `datagram` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_audio_poll_datagram(
    audio: *mut PunktfunkAudio,
    datagram: *mut PunktfunkDatagram,
) -> PunktfunkStatus {
    guard(|| {
        // SAFETY: promised by the caller.
        let audio = unsafe { audio_of(audio)? };
        if datagram.is_null() {
            return Err(PunktfunkStatus::NullPointer);
        }
        let End::Sender(_, waiting) = &mut audio.end else {
            return Err(PunktfunkStatus::InvalidArg);
        };
        audio.held = waiting.pop_front().ok_or(PunktfunkStatus::NoFrame)?;
        let told = PunktfunkDatagram {
            data: audio.held.as_ptr(),
            len: audio.held.len(),
        };
        // SAFETY: promised writable by the caller.
        unsafe { write_to(datagram, told) }
    })
}

/// Give a client a datagram of sound; what is in turn then is fetched with `punktfunk_audio_poll_sound`. Whatever it holds is no
/// error: the counters say what became of it. One that is longer than any that clients take is rejected unread.
///
/// # Safety
/// `audio` must be NULL or a live handle; `datagram` must be readable for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_audio_receive(
    audio: *mut PunktfunkAudio,
    datagram: *const u8,
    len: usize,
) -> PunktfunkStatus {
    guard(|| {
        // One byte too many is rejected like any number of them.
        let seen = len.min(MAX_PACKET_BYTES + 1);
        // SAFETY: promised by the caller.
        let (audio, datagram) = unsafe { (audio_of(audio)?, bytes_of(datagram, seen)?) };
        let End::Receiver(receiver, waiting) = &mut audio.end else {
            return Err(PunktfunkStatus::InvalidArg);
        };
        receiver.receive(datagram);
        waiting.take_from(receiver);
        Ok(())
    })
}

/// End the turn of everything that is still waited for, at the end of a stream.
///
/// # Safety
/// `audio` must be NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_audio_settle(audio: *mut PunktfunkAudio) -> PunktfunkStatus {
    guard(|| {
        // SAFETY: promised by the caller.
        let audio = unsafe { audio_of(audio)? };
        let End::Receiver(receiver, waiting) = &mut audio.end else {
            return Err(PunktfunkStatus::InvalidArg);
        };
        receiver.settle();
        waiting.take_from(receiver);
        Ok(())
    })
}

/// Fetch the next Opus packet in turn, or `PUNKTFUNK_STATUS_NO_FRAME`. At most 64 wait; one more drops the oldest.
///
/// # Safety
/// `audio` must be NULL or a live handle, `sound` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_audio_poll_sound(
    audio: *mut PunktfunkAudio,
    sound: *mut PunktfunkSound,
) -> PunktfunkStatus {
    guard(|| {
        // SAFETY: promised by the caller.
        let audio = unsafe { audio_of(audio)? };
        if sound.is_null() {
            return Err(PunktfunkStatus::NullPointer);
        }
        let End::Receiver(_, waiting) = &mut audio.end else {
            return Err(PunktfunkStatus::InvalidArg);
        };
        let next = waiting.sounds.pop_front();
        let next = next.ok_or(PunktfunkStatus::NoFrame)?;
        audio.held = next.data;
        let told = PunktfunkSound {
            data: audio.held.as_ptr(),
            len: audio.held.len(),
            sequence: next.sequence,
            gap: next.gap,
            recovered: u32::from(next.recovered),
        };
        // SAFETY: promised writable by the caller.
        unsafe { write_to(sound, told) }
    })
}

/// Read the counters of a client's sound.
///
/// # Safety
/// `audio` must be NULL or a live handle, `stats` NULL or a readable and writable struct of `struct_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_audio_get_stats(
    audio: *mut PunktfunkAudio,
    stats: *mut PunktfunkAudioStats,
) -> PunktfunkStatus {
    guard(|| {
        // SAFETY: promised by the caller.
        let audio = unsafe { audio_of(audio)? };
        let End::Receiver(receiver, waiting) = &audio.end else {
            return Err(PunktfunkStatus::InvalidArg);
        };
        let counted = receiver.stats();
        let told = PunktfunkAudioStats {
            received: counted.received,
            data: counted.data,
            recovery: counted.fec,
            rejected: counted.rejected,
            late: counted.late,
            duplicate: counted.duplicate,
            delivered: counted.delivered,
            recovered: counted.recovered,
            lost: counted.lost,
            undecryptable: counted.undecryptable,
            unfetched: waiting.unfetched,
            ..PunktfunkAudioStats::default()
        };
        // SAFETY: promised by the caller.
        unsafe { sized::write(stats, &told) }
    })
}
