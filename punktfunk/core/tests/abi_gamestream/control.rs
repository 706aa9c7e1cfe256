//! The calls of ENet.

use std::ptr;

use punktfunk_core::abi::PunktfunkStatus::{
    Closed, Full, InvalidArg, NoFrame, NullPointer, Ok as Done,
};
use punktfunk_core::abi::*;

#[test]
fn the_calls_of_control_say_what_is_wrong_and_keep_no_more_than_they_promise() {
    let config = PunktfunkEnetConfig {
        struct_size: size_of::<PunktfunkEnetConfig>() as u32,
        peers: 2,
        channels: 4,
        seed: 1,
    };
    let place = PunktfunkAddress {
        ip: [0; 16],
        family: 6,
        port: 9,
        scope: 0,
        path: [0; 24],
    };
    let odd = PunktfunkAddress { family: 5, ..place };
    let none: *mut PunktfunkEnet = ptr::null_mut();
    let (mut enet, mut peer, mut at) = (none, 0_u64, 0_u64);
    let mut datagram = PunktfunkDatagram {
        data: ptr::null(),
        len: 0,
    };
    let mut to = place;
    let mut event = PunktfunkEnetEvent {
        kind: 0,
        channel: 0,
        peer: 0,
        data: 0,
        cause: 0,
        payload: ptr::null(),
        len: 0,
        from: place,
    };
    let byte = 7_u8;
    let nowhere: *const PunktfunkAddress = ptr::null();
    // SAFETY: NULL is what is tested; the rest is live.
    unsafe {
        for wrong in [
            PunktfunkEnetConfig {
                struct_size: 15,
                ..config
            },
            PunktfunkEnetConfig { peers: 0, ..config },
            PunktfunkEnetConfig {
                channels: 256,
                ..config
            },
        ] {
            let status = punktfunk_enet_open(&wrong, &mut enet);
            assert!(status == InvalidArg && enet.is_null());
        }
        assert_eq!(punktfunk_enet_open(ptr::null(), &mut enet), NullPointer);
        assert_eq!(punktfunk_enet_open(&config, ptr::null_mut()), NullPointer);
        assert_eq!(punktfunk_enet_open(&config, &mut enet), Done);

        assert_eq!(punktfunk_enet_admit(none, 1, nowhere), NullPointer);
        assert_eq!(punktfunk_enet_refuse(none, 1), NullPointer);
        assert_eq!(
            punktfunk_enet_connect(none, &place, 1, 0, &mut peer),
            NullPointer
        );
        assert_eq!(
            punktfunk_enet_receive(none, &byte, 1, &place, 0),
            NullPointer
        );
        assert_eq!(punktfunk_enet_tick(none, 0), NullPointer);
        assert_eq!(punktfunk_enet_next_timeout(none, &mut at), NullPointer);
        assert_eq!(punktfunk_enet_send(none, 1, 0, &byte, 1, 0, 0), NullPointer);
        assert_eq!(punktfunk_enet_disconnect(none, 1, 0, 0), NullPointer);
        assert_eq!(punktfunk_enet_abandon(none, 1, 0, 0), NullPointer);
        assert_eq!(punktfunk_enet_poll_event(none, &mut event), NullPointer);
        let status = punktfunk_enet_poll_datagram(none, &mut datagram, &mut to);
        assert_eq!(status, NullPointer);

        assert_eq!(
            punktfunk_enet_connect(enet, nowhere, 1, 0, &mut peer),
            NullPointer
        );
        assert_eq!(
            punktfunk_enet_connect(enet, &odd, 1, 0, &mut peer),
            InvalidArg
        );
        assert_eq!(
            punktfunk_enet_connect(enet, &place, 1, 0, ptr::null_mut()),
            NullPointer
        );
        assert_eq!(
            punktfunk_enet_receive(enet, &byte, 1, nowhere, 0),
            NullPointer
        );
        assert_eq!(
            punktfunk_enet_receive(enet, ptr::null(), 1, &place, 0),
            NullPointer
        );
        let long = vec![0_u8; 65_536];
        let status = punktfunk_enet_receive(enet, long.as_ptr(), 65_536, &place, 0);
        assert_eq!(status, InvalidArg);
        let status = punktfunk_enet_receive(enet, long.as_ptr(), 65_535, &place, 0);
        assert_eq!(status, Done);
        assert_eq!(punktfunk_enet_admit(enet, 1, &odd), InvalidArg);
        assert_eq!(punktfunk_enet_send(enet, 1, 0, &byte, 1, 3, 0), InvalidArg);
        assert_eq!(punktfunk_enet_send(enet, 1, 0, &byte, 1, 0, 0), Closed);
        assert_eq!(
            punktfunk_enet_poll_event(enet, ptr::null_mut()),
            NullPointer
        );
        assert_eq!(punktfunk_enet_poll_event(enet, &mut event), NoFrame);
        let status = punktfunk_enet_poll_datagram(enet, &mut datagram, ptr::null_mut());
        assert_eq!(status, NullPointer);

        for data in 0..255 {
            assert_eq!(punktfunk_enet_admit(enet, data, nowhere), Done);
        }
        assert_eq!(punktfunk_enet_admit(enet, 254, &place), Done);
        assert_eq!(punktfunk_enet_admit(enet, 255, nowhere), Full);
        assert_eq!(punktfunk_enet_refuse(enet, 7), Done);
        assert_eq!(punktfunk_enet_admit(enet, 255, nowhere), Done);
        for _ in 0..2 {
            assert_eq!(punktfunk_enet_connect(enet, &place, 1, 0, &mut peer), Done);
        }
        assert_eq!(punktfunk_enet_connect(enet, &place, 1, 0, &mut peer), Full);
        punktfunk_enet_free(none);
        punktfunk_enet_free(enet);
    }
}
