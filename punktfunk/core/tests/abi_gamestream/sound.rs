//! The calls of sound.

use std::ptr;

use punktfunk_core::abi::PunktfunkStatus::{InvalidArg, NoFrame, NullPointer, Ok as Done};
use punktfunk_core::abi::*;

fn sound_config(role: u32) -> PunktfunkGameStreamAudioConfig {
    PunktfunkGameStreamAudioConfig {
        struct_size: size_of::<PunktfunkGameStreamAudioConfig>() as u32,
        role,
        packet_ms: 5,
        encrypt: 1,
        key: *b"0123456789abcdef",
        rikeyid: -1,
    }
}

fn open_sound(
    config: &PunktfunkGameStreamAudioConfig,
) -> Result<*mut PunktfunkAudio, PunktfunkStatus> {
    let mut audio = ptr::null_mut();
    // SAFETY: both are live.
    match unsafe { punktfunk_gamestream_audio_open(config, &mut audio) } {
        Done => Ok(audio),
        status => {
            assert!(audio.is_null());
            Err(status)
        }
    }
}

#[test]
fn configurations_out_of_range_are_refused() {
    let changes: [fn(&mut PunktfunkGameStreamAudioConfig); 4] = [
        |c| c.struct_size = 35,
        |c| c.role = 2,
        |c| c.packet_ms = 20,
        |c| c.key = [0; 16],
    ];
    for (n, change) in changes.iter().enumerate() {
        let mut wrong = sound_config(0);
        change(&mut wrong);
        assert_eq!(open_sound(&wrong), Err(InvalidArg), "change {n} of sound");
    }
}

#[test]
fn the_calls_of_sound_say_what_is_wrong_and_keep_no_more_than_they_promise() {
    let (host, client) = (
        open_sound(&sound_config(0)).unwrap(),
        open_sound(&sound_config(1)).unwrap(),
    );
    let none: *mut PunktfunkAudio = ptr::null_mut();
    let mut datagram = PunktfunkDatagram {
        data: ptr::null(),
        len: 0,
    };
    let mut sound = PunktfunkSound {
        data: ptr::null(),
        len: 0,
        sequence: 0,
        gap: 0,
        recovered: 0,
    };
    let mut stats = PunktfunkAudioStats {
        struct_size: size_of::<PunktfunkAudioStats>() as u32,
        ..PunktfunkAudioStats::default()
    };
    let opus = [9_u8; 1400];
    let bytes = opus.as_ptr();
    // SAFETY: NULL is what is tested; the rest is live.
    unsafe {
        let void = ptr::null_mut();
        assert_eq!(
            punktfunk_gamestream_audio_open(ptr::null(), void),
            NullPointer
        );
        let status = punktfunk_gamestream_audio_open(&sound_config(0), void);
        assert_eq!(status, NullPointer);
        for audio in [none, client] {
            let refused = if audio.is_null() {
                NullPointer
            } else {
                InvalidArg
            };
            assert_eq!(punktfunk_audio_submit(audio, bytes, 60), refused);
            assert_eq!(punktfunk_audio_poll_datagram(audio, &mut datagram), refused);
        }
        for audio in [none, host] {
            let refused = if audio.is_null() {
                NullPointer
            } else {
                InvalidArg
            };
            assert_eq!(punktfunk_audio_receive(audio, bytes, 60), refused);
            assert_eq!(punktfunk_audio_settle(audio), refused);
            assert_eq!(punktfunk_audio_poll_sound(audio, &mut sound), refused);
            assert_eq!(punktfunk_audio_get_stats(audio, &mut stats), refused);
        }
        let nowhere = ptr::null_mut();
        assert_eq!(punktfunk_audio_poll_datagram(host, nowhere), NullPointer);
        assert_eq!(
            punktfunk_audio_poll_sound(client, ptr::null_mut()),
            NullPointer
        );
        assert_eq!(
            punktfunk_audio_get_stats(client, ptr::null_mut()),
            NullPointer
        );
        assert_eq!(punktfunk_audio_poll_datagram(host, &mut datagram), NoFrame);
        assert_eq!(punktfunk_audio_submit(host, ptr::null(), 60), NullPointer);
        assert_eq!(punktfunk_audio_submit(host, bytes, 1400), InvalidArg);
        assert_eq!(punktfunk_audio_submit(host, bytes, 60), Done);
        assert_eq!(punktfunk_audio_submit(host, bytes, 61), InvalidArg);
        // What was not fetched before the next packet is not kept.
        for _ in 0..100 {
            assert_eq!(punktfunk_audio_submit(host, bytes, 60), Done);
            assert_eq!(punktfunk_audio_poll_datagram(host, &mut datagram), Done);
            let status = punktfunk_audio_receive(client, datagram.data, datagram.len);
            assert_eq!(status, Done);
        }
        assert_eq!(punktfunk_audio_receive(client, bytes, usize::MAX), Done);
        assert_eq!(punktfunk_audio_settle(client), Done);
        assert_eq!(punktfunk_audio_get_stats(client, &mut stats), Done);
        assert_eq!((stats.received, stats.data, stats.rejected), (101, 100, 1));
        assert_eq!((stats.delivered, stats.unfetched), (100, 36));
        let fetched = std::iter::repeat_with(|| punktfunk_audio_poll_sound(client, &mut sound))
            .take_while(|status| *status == Done)
            .count();
        assert_eq!((fetched, sound.sequence, sound.len), (64, 100, 60));
        punktfunk_audio_free(none);
        punktfunk_audio_free(host);
        punktfunk_audio_free(client);
    }
}
