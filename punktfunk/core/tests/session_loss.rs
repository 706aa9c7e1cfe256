//! What did not come is counted, whatever the gap looks like: starts, outages, short frames, ends, loss reports.

mod support;

use punktfunk_core::packetize::punktfunk1::{EmissionOrder, Punktfunk1Packetizer};
use punktfunk_core::reassemble::Placed;
use punktfunk_core::session::{HostSession, HostSettings, Receipt, StreamConfig};
use punktfunk_core::wire::punktfunk1::Header;
use support::{Client, DELTA_FRAME, Host, KEY_FRAME, MS, config};

/// Few enough frames to jump over.
const WINDOW: u32 = 4;

fn pair() -> (Host, Client) {
    let config = StreamConfig {
        loss_window_frames: WINDOW,
        ..config()
    };
    (Host::new(config.clone()), Client::new(config))
}

/// Let the host send frames that nobody gets.
fn lose(host: &mut Host, frames: std::ops::Range<u32>, flags: u32) {
    for i in frames {
        host.numbered(i, flags);
    }
}

#[test]
fn a_first_packet_beyond_the_loss_window_leaves_no_frame_uncounted() {
    for lost in [1, WINDOW, WINDOW + 1, 3 * WINDOW] {
        let (mut host, mut client) = pair();
        lose(&mut host, 0..lost, KEY_FRAME);
        let mut frames = client.take_all(&host.numbered(lost, KEY_FRAME));
        frames.extend(client.pass(20 * MS));
        assert_eq!(Client::indices(&frames), [lost]);
        assert_eq!(frames[0].gap, lost);
        assert_eq!(client.session.take_loss_report_ppm(), 50_000, "{lost} lost");
        client.session.settle(None, client.now);
        client.assert_balanced(u64::from(lost) + 1);
        let stats = client.stats();
        assert_eq!(
            (stats.frames_unseen, stats.packets_lost),
            (u64::from(lost), 15 * u64::from(lost))
        );
        let fates: Vec<_> = client
            .session
            .take_records()
            .iter()
            .map(|r| (r.index, r.status))
            .collect();
        let expected: Vec<_> = (0..=i64::from(lost))
            .map(|i| (i, i64::from(i < i64::from(lost))))
            .collect();
        assert_eq!(fates, expected, "every frame has its record");
    }
}

#[test]
fn a_receiver_joins_late_only_where_the_host_says_so() {
    let (mut host, mut client) = pair();
    lose(&mut host, 0..20, KEY_FRAME);
    client.session.resume(20, 20 * 15);
    lose(&mut host, 20..22, KEY_FRAME);
    let mut frames = client.take_all(&host.numbered(22, KEY_FRAME));
    frames.extend(client.pass(20 * MS));
    assert_eq!(frames[0].gap, 2, "from the first frame that it was to get");
    client.session.settle(None, client.now);
    client.assert_balanced(3);
    assert_eq!(client.stats().packets_lost, 30);
}

#[test]
fn frame_and_packet_numbers_wrap() {
    let (_, mut client) = pair();
    let mut packetizer =
        Punktfunk1Packetizer::new(config(), EmissionOrder::default(), None).unwrap();
    packetizer.set_next(u32::MAX - 2, u32::MAX - 20, 1 << 40);
    let settings = HostSettings::default();
    let mut host = Host::of(HostSession::with_packetizer(packetizer, 50, &settings));
    client.session.resume(u32::MAX - 2, u32::MAX - 20);
    let mut released = Vec::new();
    for i in 0..6 {
        let packets = host.numbered(i, if i == 0 { KEY_FRAME } else { DELTA_FRAME });
        released.extend(client.take_all(packets[3..].iter()));
    }
    assert_eq!(
        Client::indices(&released),
        [u32::MAX - 2, u32::MAX - 1, u32::MAX, 0, 1, 2]
    );
    assert!(released.iter().all(|f| f.gap == 0));
    let stats = client.stats();
    assert_eq!((stats.frames_unseen, stats.packets_lost), (0, 6 * 3));
}

#[test]
fn an_outage_beyond_the_loss_window_breaks_the_references_at_once() {
    let (mut host, mut client) = pair();
    assert_eq!(
        client.take_all(&host.numbered(0, KEY_FRAME)).len(),
        1,
        "the references are whole"
    );
    // Frames 1 and 2 are lost. What is still in the window of frame 7 was overtaken by its first packet.
    lose(&mut host, 1..3, DELTA_FRAME);
    let overtaken: Vec<_> = (3..7).map(|i| host.numbered(i, DELTA_FRAME)).collect();
    let newest = host.numbered(7, DELTA_FRAME);
    client.take(&newest[0]);
    assert!(
        client.session.take_recovery_request(client.now, None),
        "a key frame is asked for before anything is given up by time"
    );
    assert_eq!(client.session.take_loss_report_ppm(), 50_000);
    let mut released = Vec::new();
    for packets in &overtaken {
        released.extend(client.take_all(packets));
    }
    released.extend(client.take_all(&newest[1..]));
    assert!(released.is_empty(), "they refer to frame 2");
    assert_eq!(client.stats().frames_undecodable, 5);
    assert_eq!(
        Client::indices(&client.take_all(&host.numbered(8, KEY_FRAME))),
        [8]
    );
    client.session.settle(None, client.now);
    client.assert_balanced(9);
}

#[test]
fn an_outage_of_the_whole_window_breaks_the_references() {
    let (mut host, mut client) = pair();
    client.take_all(&host.numbered(0, KEY_FRAME));
    lose(&mut host, 1..40, DELTA_FRAME);
    client.take_all(&host.numbered(40, DELTA_FRAME));
    assert!(client.pass(20 * MS).is_empty());
    assert!(client.session.take_recovery_request(client.now, None));
    let after = client.take_all(&host.numbered(41, KEY_FRAME));
    assert_eq!(Client::indices(&after), [41]);
    assert_eq!(after[0].gap, 40);
    client.session.settle(None, client.now);
    client.assert_balanced(42);
}

#[test]
fn a_short_frame_breaks_the_references_and_is_reported_lost() {
    let config = StreamConfig {
        key: None,
        ..config()
    };
    let (mut host, mut client) = (Host::new(config.clone()), Client::new(config));
    client.take_all(&host.numbered(0, KEY_FRAME));
    assert_eq!(client.session.take_loss_report_ppm(), 0);
    for packet in host.numbered(1, DELTA_FRAME) {
        let mut claims_more = packet;
        let mut header = Header::parse(&claims_more).unwrap();
        header.frame_bytes = 10 * 100 + 1;
        header.write((&mut claims_more[..40]).try_into().unwrap());
        client.take(&claims_more);
    }
    assert!(client.frames().is_empty());
    assert_eq!(client.stats().frames_short, 1);
    assert!(client.session.take_recovery_request(client.now, None));
    assert_eq!(client.session.take_loss_report_ppm(), 50_000);
    assert!(client.take_all(&host.numbered(2, DELTA_FRAME)).is_empty());
    assert_eq!(client.stats().frames_undecodable, 1);
    assert_eq!(client.take_all(&host.numbered(3, KEY_FRAME)).len(), 1);
    client.session.settle(None, client.now);
    client.assert_balanced(4);
}

#[test]
fn what_is_lost_at_the_very_end_is_counted_when_the_host_says_what_it_sent() {
    let (mut host, mut client) = pair();
    client.take_all(&host.numbered(0, KEY_FRAME));
    let partly = host.numbered(1, KEY_FRAME);
    client.take_all(&partly[..4]);
    host.numbered(2, KEY_FRAME);
    client.session.settle(Some((3, 45)), client.now);
    let stats = client.stats();
    assert_eq!(
        (
            stats.frames_unrecoverable,
            stats.frames_unseen,
            stats.packets_lost
        ),
        (2, 1, 26)
    );
    client.assert_balanced(3);
}

#[test]
fn the_loss_report_is_that_of_section_2_4() {
    let (mut host, mut client) = pair();
    // Two of the ten data shards are rebuilt from the recovery shards: 2 / (13 + 2).
    client.take_all(host.numbered(0, KEY_FRAME)[2..].iter());
    assert_eq!(client.session.take_loss_report_ppm(), 133_333);
    host.numbered(1, KEY_FRAME);
    client.take_all(&host.numbered(2, KEY_FRAME));
    client.pass(20 * MS);
    assert_eq!(
        client.session.take_loss_report_ppm(),
        50_000,
        "one lost frame"
    );
}

#[test]
fn the_loss_report_starts_from_zero_after_each() {
    let (mut host, mut client) = pair();
    let report = |client: &mut Client| client.session.take_loss_report_ppm();
    // Packets, rebuilt shards, a lost frame and a late shard, all of which the first report takes.
    let first = host.numbered(0, KEY_FRAME);
    client.take_all(first[1..].iter());
    assert_eq!(
        client.take(&first[0]),
        Receipt::Placed(Placed::Surplus { late_data: true })
    );
    lose(&mut host, 1..2, KEY_FRAME);
    client.take_all(&host.numbered(2, KEY_FRAME));
    client.pass(20 * MS);
    assert_eq!(
        report(&mut client),
        50_000,
        "the late shard is no loss, the frame is"
    );
    assert_eq!(
        report(&mut client),
        0,
        "the lost frame is in one report only"
    );
    // One rebuilt of the ten: 1 / (14 + 1), neither diluted by earlier packets nor netted against the late shard.
    client.take_all(host.numbered(3, KEY_FRAME)[1..].iter());
    assert_eq!(report(&mut client), 66_666);
    client.take_all(&host.numbered(4, KEY_FRAME));
    assert_eq!(report(&mut client), 0, "nor are rebuilt shards in two");
}

#[test]
fn a_wait_ends_at_its_very_nanosecond() {
    let (mut host, mut client) = (Host::new(config()), Client::new(config()));
    let frames: Vec<_> = (0..3).map(|i| host.numbered(i, KEY_FRAME)).collect();
    client.take_all(&frames[0]);
    assert_eq!(client.session.next_timeout(), None);
    // Complete, behind one of which nothing came: the reorder window.
    client.take_all(&frames[2]);
    assert_eq!(client.session.next_timeout(), Some(client.now + 20 * MS));
    assert!(client.pass(20 * MS - 1).is_empty());
    assert_eq!(Client::indices(&client.pass(1)), [2]);
    // Begun, and then nothing more: the loss window.
    client.take(&host.numbered(3, DELTA_FRAME)[0]);
    assert_eq!(client.session.next_timeout(), Some(client.now + 120 * MS));
    client.pass(120 * MS - 1);
    assert!(!client.session.take_recovery_request(client.now, None));
    client.pass(1);
    assert!(client.session.take_recovery_request(client.now, None));
}

#[test]
fn a_frame_is_over_when_the_newest_was_captured_more_than_the_loss_window_later() {
    for (beyond, lost) in [(0, false), (1, true)] {
        let (mut host, mut client) = (Host::new(config()), Client::new(config()));
        client.take_all(&host.numbered(0, KEY_FRAME));
        let captured = host.now;
        client.take(&host.numbered(1, DELTA_FRAME)[0]);
        host.now = captured + 120 * MS + beyond;
        client.take(&host.numbered(2, DELTA_FRAME)[0]);
        let asks = client.session.take_recovery_request(client.now, None);
        assert_eq!(asks, lost, "{beyond} ns beyond it");
    }
}
