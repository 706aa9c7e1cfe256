//! GameStream's sound.

use std::ptr;

use punktfunk_core::abi::{
    PunktfunkAudio, PunktfunkAudioStats, PunktfunkDatagram, PunktfunkGameStreamAudioConfig,
    PunktfunkSound, PunktfunkStatus, punktfunk_audio_free, punktfunk_audio_get_stats,
    punktfunk_audio_poll_datagram, punktfunk_audio_poll_sound, punktfunk_audio_receive,
    punktfunk_audio_settle, punktfunk_audio_submit, punktfunk_gamestream_audio_open,
};

use super::{sized, struct_of, told};
use crate::bodies::input::Input;

/// A configuration, behind the two bytes of its size, then a script. A handle says its role by what it answers.
pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let config = sized(&mut input);
    let mut audio = ptr::null_mut();
    // SAFETY: the struct has the bytes that it says.
    let status =
        told(unsafe { punktfunk_gamestream_audio_open(config.as_ptr().cast(), &mut audio) });
    assert_eq!(status == PunktfunkStatus::Ok, !audio.is_null());
    if audio.is_null() {
        return;
    }
    let host = config[4..8] == [0; 4];
    while !input.is_empty() {
        step(audio, host, &mut input);
    }
    // SAFETY: a handle that is freed once.
    unsafe { punktfunk_audio_free(audio) };
}

fn step(audio: *mut PunktfunkAudio, host: bool, input: &mut Input) {
    let step = input.byte() % 6;
    let of_host = match step {
        0 => {
            let opus = input.piece();
            // SAFETY: a live handle, and bytes that are there.
            let status = told(unsafe { punktfunk_audio_submit(audio, opus.as_ptr(), opus.len()) });
            assert!(matches!(
                status,
                PunktfunkStatus::Ok | PunktfunkStatus::InvalidArg
            ));
            return;
        }
        1 => {
            let mut datagram = PunktfunkDatagram {
                data: ptr::null(),
                len: 0,
            };
            // SAFETY: a live handle and a struct that is there; what it hands out lives until the next call.
            unsafe {
                let status = told(punktfunk_audio_poll_datagram(audio, &mut datagram));
                if status == PunktfunkStatus::Ok {
                    let bytes = std::slice::from_raw_parts(datagram.data, datagram.len);
                    assert!((1..=1400).contains(&bytes.len()) && bytes[0] == 0x80);
                }
                (status, true)
            }
        }
        2 => {
            let datagram = input.piece();
            let (data, len) = (datagram.as_ptr(), datagram.len());
            // SAFETY: a live handle, and bytes that are there.
            (
                told(unsafe { punktfunk_audio_receive(audio, data, len) }),
                false,
            )
        }
        // SAFETY: a live handle.
        3 => (told(unsafe { punktfunk_audio_settle(audio) }), false),
        4 => {
            let mut sound = PunktfunkSound {
                data: ptr::null(),
                len: 0,
                sequence: 0,
                gap: 0,
                recovered: 0,
            };
            // SAFETY: as for a datagram.
            unsafe {
                let status = told(punktfunk_audio_poll_sound(audio, &mut sound));
                if status == PunktfunkStatus::Ok {
                    let opus = std::slice::from_raw_parts(sound.data, sound.len);
                    std::hint::black_box(opus.iter().fold(0_u8, |sum, byte| sum ^ byte));
                    assert!(sound.recovered <= 1);
                }
                (status, false)
            }
        }
        _ => (statistics(audio, input), false),
    };
    let (status, meant_for_host) = of_host;
    if meant_for_host == host {
        assert_ne!(status, PunktfunkStatus::NullPointer);
    } else {
        assert_eq!(status, PunktfunkStatus::InvalidArg);
    }
}

/// Of a struct of any size, as much as it has room for is filled.
fn statistics(audio: *mut PunktfunkAudio, input: &mut Input) -> PunktfunkStatus {
    let mut stats = sized(input);
    // SAFETY: a live handle and a struct of the bytes that it says.
    let status = told(unsafe { punktfunk_audio_get_stats(audio, stats.as_mut_ptr().cast()) });
    if status == PunktfunkStatus::Ok && stats.len() >= size_of::<PunktfunkAudioStats>() {
        let field = |at: usize| u64::from_le_bytes(*stats[8 + 8 * at..].first_chunk().unwrap());
        assert_eq!(field(0), (1..6).map(field).sum::<u64>());
    }
    status
}

pub fn seeds() -> Vec<Vec<u8>> {
    let of = |fields: &[u32]| {
        let config = struct_of(fields, b"0123456789abcdef\xfe\xff\xff\xff");
        assert_eq!(
            config.len(),
            2 + size_of::<PunktfunkGameStreamAudioConfig>()
        );
        config
    };
    let stats = [&[5, 96, 0][..], &[0; 96]].concat();
    let sent = b"\x00\x04abcd\x01\x01".repeat(5);
    // Data 0, 1 and 3 of a block, twice one of them, and what is none.
    let data = |n: u8| {
        let head = [0x80, 97, 0, n, 0, 0, 0, 5 * n, 0, 0, 0, 0];
        [&[2, 16][..], &head, b"opus"].concat()
    };
    let heard = [data(0), data(1), data(1), data(3), vec![2, 2, 7, 7]].concat();
    vec![
        [of(&[36, 0, 5, 0]), sent.clone()].concat(),
        [of(&[36, 0, 10, 1]), sent].concat(),
        [of(&[36, 1, 5, 0]), heard, vec![4, 4, 3, 4, 4], stats].concat(),
    ]
}
