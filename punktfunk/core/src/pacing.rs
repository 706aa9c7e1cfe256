//! The pacer: a token bucket with a bounded burst.
//!
//! A frame leaves as one burst of at most [`PacerConfig::burst_packets`], then at
//! `max(packets_per_ms, rate_factor × the session's rate)`. The first keeps small frames whole and fast, the second
//! keeps a large frame from overrunning a switch buffer or a receiver with a small socket buffer. Shards may be as small
//! as a peer asks for, so that the session's rate counts up to [`MAX_SESSION_PACKETS_PER_S`] only.
//!
//! At a million packets a second that burst is 32 us long: less than a timer is late by, and less than a wake-up costs. A session
//! whose own rate is above the floor therefore saves up [`PacerConfig::train_ns`] of it, lets all of it go in as many trains as it
//! takes, and makes up for [`PacerConfig::catch_up_ns`] of delay.

use std::collections::VecDeque;

/// How a session spreads its packets over time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PacerConfig {
    /// Packets that may leave at once after a pause.
    pub burst_packets: u32,
    /// Floor of the sustained rate, packets per millisecond.
    pub packets_per_ms: u32,
    /// Sustained rate as a multiple of the session's own packet rate (FEC included).
    pub rate_factor: f64,
    /// Longest train that is handed out at once; a sender with segmentation offload carries at most 64 KiB in it.
    pub train_packets: u32,
    /// Sending time that a train is saved up for, or several that follow each other. Each wait costs a wake-up of the thread.
    pub train_ns: u64,
    /// Sending time that a session whose own rate is above `packets_per_ms` may catch up after a delay, where that is more than
    /// `burst_packets`; 0 for never.
    pub catch_up_ns: u64,
    /// Most packets in any millisecond, however frames follow each other; `u32::MAX` for no such bound. A session whose own
    /// rate is above `packets_per_ms` is not held to it.
    pub most_in_a_ms: u32,
}

impl Default for PacerConfig {
    fn default() -> Self {
        Self {
            burst_packets: 32,
            packets_per_ms: 100,
            rate_factor: 1.25,
            train_packets: 64,
            train_ns: TRAIN_NS,
            catch_up_ns: 2 * TRAIN_NS,
            most_in_a_ms: u32::MAX,
        }
    }
}

/// Most packets per second that a session's rate is paced for, however small its shards: what a receiver's replay window
/// is made for. 12 Gbit/s of 1250-byte packets. [`PacerConfig::packets_per_ms`], which no peer has a say in, may be above.
pub const MAX_SESSION_PACKETS_PER_S: u32 = 1_000_000;
/// Trains of about this length keep the timer error (some 20 µs) small beside the gap between two of them.
const TRAIN_NS: u64 = 150_000;
/// Idle time beyond which the bucket is full whatever the rate; it also keeps the products below `i64::MAX`.
const LONGEST_REFILL_NS: u64 = 1_000_000_000;
const PS_PER_NS: u64 = 1_000;
const MS_NS: u64 = 1_000_000;

/// A token bucket counted in picoseconds of sending time, so that no rate accumulates a rounding error.
///
/// A bucket alone lets a burst and a millisecond of its rate go in the same millisecond. Where that is too much, the trains of
/// the last millisecond are remembered, and what does not fit beside them waits.
#[derive(Clone, Debug)]
pub struct Pacer {
    config: PacerConfig,
    packet_cost_ps: u64,
    credit_ps: u64,
    last_ns: u64,
    /// Packets that may leave at once.
    burst: u32,
    /// Packets that are worth a wait.
    target: u32,
    /// Packets for which the wait is over, beyond the train that was handed out.
    following: u32,
    most_in_a_ms: u32,
    /// Trains of the last millisecond, time and packets, the oldest first; empty without a bound on them.
    recent: VecDeque<(u64, u32)>,
}

impl Pacer {
    /// A full bucket for a session that sends `packets_per_s` on average, FEC included.
    #[must_use]
    pub fn new(config: PacerConfig, packets_per_s: f64) -> Self {
        let mut pacer = Self {
            config,
            packet_cost_ps: 1,
            credit_ps: 0,
            last_ns: 0,
            burst: 1,
            target: 1,
            following: 0,
            most_in_a_ms: u32::MAX,
            recent: VecDeque::new(),
        };
        pacer.set_rate(packets_per_s);
        pacer.credit_ps = pacer.capacity_ps();
        pacer
    }

    /// Follow a new average packet rate from now on.
    pub fn set_rate(&mut self, packets_per_s: f64) {
        let floor = f64::from(self.config.packets_per_ms.max(1)) * 1e3;
        let session = packets_per_s * self.config.rate_factor;
        let rate = floor.max(session.min(f64::from(MAX_SESSION_PACKETS_PER_S)));
        let former_cost_ps =
            std::mem::replace(&mut self.packet_cost_ps, ((1e12 / rate) as u64).max(1));
        // Time that was saved up at a slower rate is worth no more packets at a faster one.
        let same_packets = u128::from(self.credit_ps) * u128::from(self.packet_cost_ps)
            / u128::from(former_cost_ps);
        self.credit_ps =
            u64::try_from(same_packets).map_or(self.credit_ps, |c| c.min(self.credit_ps));
        let last_for = |ns: u64| {
            let packets = ns * PS_PER_NS / self.packet_cost_ps;
            u32::try_from(packets).unwrap_or(u32::MAX)
        };
        let worth_waiting = last_for(self.config.train_ns).max(4);
        let train = self.config.train_packets.max(1);
        self.burst = self.config.burst_packets.max(1);
        if session > floor && self.config.catch_up_ns > 0 {
            self.burst = self.burst.max(last_for(self.config.catch_up_ns));
            self.target = worth_waiting.min(self.burst);
        } else {
            self.target = worth_waiting.min(train).min(self.burst);
        }
        self.most_in_a_ms = if session > floor {
            u32::MAX
        } else {
            self.config.most_in_a_ms.max(self.target)
        };
    }

    /// Sustained packets per second after the burst.
    #[must_use]
    pub fn packets_per_s(&self) -> f64 {
        1e12 / self.packet_cost_ps as f64
    }

    fn capacity_ps(&self) -> u64 {
        self.packet_cost_ps * u64::from(self.burst)
    }

    fn refill(&mut self, now_ns: u64) {
        let elapsed = now_ns.saturating_sub(self.last_ns).min(LONGEST_REFILL_NS);
        self.credit_ps = (self.credit_ps + elapsed * PS_PER_NS).min(self.capacity_ps());
        self.last_ns = self.last_ns.max(now_ns);
        while let Some(&(at_ns, _)) = self.recent.front()
            && at_ns + MS_NS <= self.last_ns
        {
            self.recent.pop_front();
        }
    }

    /// Packets for which the last millisecond has room.
    fn room(&self) -> u32 {
        let recent: u32 = self.recent.iter().map(|&(_, packets)| packets).sum();
        self.most_in_a_ms.saturating_sub(recent)
    }

    /// When the last millisecond will have room for `wanted` packets.
    fn room_ns(&self, wanted: u32) -> u64 {
        let mut room = self.room();
        let mut trains = self.recent.iter();
        let mut at_ns = self.last_ns;
        while room < wanted {
            let Some(&(sent_ns, packets)) = trains.next() else {
                break;
            };
            room += packets;
            at_ns = sent_ns + MS_NS;
        }
        at_ns
    }

    /// Take up to `wanted` packets. 0 means "not before [`Pacer::next_ns`]": single packets are saved up until they are worth
    /// a wait. What was saved up for longer than a train follows it at once, in whole trains.
    pub fn take(&mut self, now_ns: u64, wanted: u32) -> u32 {
        self.refill(now_ns);
        let ready = (self.credit_ps / self.packet_cost_ps).min(u64::from(self.room())) as u32;
        let train = self.config.train_packets.max(1);
        if self.following == 0 || ready == 0 {
            self.following = 0;
            if ready < self.target.min(wanted) {
                return 0;
            }
            if self.target > train {
                // All that is left of a frame goes; of a longer one whole trains do.
                self.following = if wanted > ready {
                    ready - ready % train
                } else {
                    wanted
                };
            }
        }
        let taken = ready.min(wanted).min(train);
        self.following = self.following.saturating_sub(taken);
        self.credit_ps -= u64::from(taken) * self.packet_cost_ps;
        if self.most_in_a_ms < u32::MAX && taken > 0 {
            self.recent.push_back((self.last_ns, taken));
        }
        taken
    }

    /// When [`Pacer::take`] will next give something to a sender that has `wanted` packets left.
    #[must_use]
    pub fn next_ns(&self, wanted: u32) -> u64 {
        let packets = self.target.min(wanted);
        let needed = u64::from(packets) * self.packet_cost_ps;
        let paid_ns = self.last_ns + needed.saturating_sub(self.credit_ps).div_ceil(PS_PER_NS);
        paid_ns.max(self.room_ns(packets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(pacer: &mut Pacer, mut now: u64, packets: u32) -> Vec<(u64, u32)> {
        let (mut left, mut sent) = (packets, Vec::new());
        // A train a packet and a wait for each at the worst.
        for _ in 0..=2 * packets {
            if left == 0 {
                return sent;
            }
            let n = pacer.take(now, left);
            if n == 0 {
                let next = pacer.next_ns(left);
                assert!(
                    next > now,
                    "the pacer must not ask to be called again at once"
                );
                now = next;
                continue;
            }
            left -= n;
            sent.push((now, n));
        }
        panic!("{left} of {packets} packets have not left at {now} ns");
    }

    #[test]
    fn a_frame_within_the_burst_leaves_at_once() {
        let mut pacer = Pacer::new(PacerConfig::default(), 1000.0);
        let sent = drain(&mut pacer, 5_000_000_000, 32);
        assert_eq!(sent, vec![(5_000_000_000, 32)]);
    }

    #[test]
    fn a_large_frame_leaves_at_a_hundred_packets_per_ms() {
        let mut pacer = Pacer::new(PacerConfig::default(), 1000.0);
        let start = 1_000_000_000;
        let sent = drain(&mut pacer, start, 532);
        let (last, _) = sent[sent.len() - 1];
        assert_eq!(sent.iter().map(|s| s.1).sum::<u32>(), 532);
        assert_eq!(
            last - start,
            5_000_000,
            "500 packets beyond the burst at 100 a ms"
        );
    }

    #[test]
    fn a_fast_session_is_paced_above_its_own_rate() {
        let mut pacer = Pacer::new(PacerConfig::default(), 400_000.0);
        let sent = drain(&mut pacer, 1_000_000_000, 5150);
        let (last, _) = sent[sent.len() - 1];
        assert_eq!(
            last - 1_000_000_000,
            10_000_000,
            "5000 packets beyond 300 us of them at 1.25 × 400 000 a second"
        );
    }

    #[test]
    fn long_silence_saves_up_no_more_than_one_burst() {
        let mut pacer = Pacer::new(PacerConfig::default(), 1000.0);
        assert_eq!(pacer.take(u64::MAX / 4, 1000), 32);
        assert_eq!(pacer.take(u64::MAX / 4, 1000), 0);
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_gives_nothing() {
        let mut pacer = Pacer::new(PacerConfig::default(), 1000.0);
        assert_eq!(pacer.take(1_000_000, 32), 32);
        assert_eq!(pacer.take(1_000_000, 1), 0);
        assert_eq!(pacer.take(0, 1), 0);
    }

    #[test]
    fn a_rate_change_applies_to_the_next_packet() {
        let mut pacer = Pacer::new(PacerConfig::default(), 1000.0);
        assert_eq!(pacer.take(1_000_000_000, 32), 32);
        pacer.set_rate(800_000.0);
        assert_eq!(
            pacer.take(1_000_032_000, 32),
            32,
            "1000 packets a ms: 32 after 32 µs"
        );
    }

    const T: u64 = 1_000_000_000;

    /// Everything that leaves at `now`, a train at a time; a pacer without an end is cut off.
    fn at_once(pacer: &mut Pacer, now: u64) -> Vec<u32> {
        std::iter::from_fn(|| Some(pacer.take(now, 1000)).filter(|&n| n > 0))
            .take(1000)
            .collect()
    }

    #[test]
    fn the_burst_is_as_long_as_configured_and_at_least_one_packet() {
        for (burst, expected) in [(0, 1), (1, 1), (10, 10), (100, 100)] {
            let config = PacerConfig {
                burst_packets: burst,
                train_packets: 1000,
                ..PacerConfig::default()
            };
            let mut pacer = Pacer::new(config, 1000.0);
            assert_eq!(at_once(&mut pacer, T), [expected]);
            assert_eq!(at_once(&mut pacer, 3 * T), [expected], "after a pause");
        }
    }

    #[test]
    fn a_burst_is_handed_out_in_trains_no_longer_than_configured() {
        for (train, expected) in [
            (0, vec![1; 32]),
            // What is left of the burst is less than a train that is worth its call.
            (5, vec![5; 6]),
            (32, vec![32]),
            (48, vec![32]),
        ] {
            let config = PacerConfig {
                train_packets: train,
                ..PacerConfig::default()
            };
            let mut pacer = Pacer::new(config, 1000.0);
            assert_eq!(at_once(&mut pacer, T), expected, "trains of {train}");
            // It goes with the end of a frame.
            let left = 32 - expected.iter().sum::<u32>();
            assert_eq!(pacer.take(T, left), left, "trains of {train}");
        }
    }

    #[test]
    fn the_sustained_rate_is_the_larger_of_floor_and_factor() {
        for (packets_per_ms, factor, session, expected) in [
            (7, 1.25, 100.0, 7000.0),
            (0, 1.25, 100.0, 1000.0),
            (100, 1.25, 79_999.0, 100_000.0),
            (100, 1.25, 160_000.0, 200_000.0),
            (100, 3.0, 160_000.0, 480_000.0),
            // What a peer asks for ends at what receivers are made for, what this host was told does not.
            (100, 1.25, 800_001.0, 1_000_000.0),
            (100, 1000.0, 1e12, 1_000_000.0),
            (5000, 1.25, 1e12, 5_000_000.0),
        ] {
            let config = PacerConfig {
                packets_per_ms,
                rate_factor: factor,
                ..PacerConfig::default()
            };
            let rate = Pacer::new(config, session).packets_per_s();
            assert!(
                (rate / expected - 1.0).abs() < 1e-4,
                "{rate}, not {expected}"
            );
        }
    }

    #[test]
    fn packets_are_saved_up_until_a_train_is_worth_its_call_but_for_the_end_of_a_frame() {
        // 10 us a packet: 15 packets make 150 us.
        let mut pacer = Pacer::new(PacerConfig::default(), 1000.0);
        at_once(&mut pacer, T);
        assert_eq!(pacer.next_ns(1000), T + 150_000);
        assert_eq!(pacer.take(T + 149_999, 1000), 0);
        assert_eq!(pacer.take(T + 150_000, 1000), 15);
        assert_eq!(pacer.next_ns(2), T + 170_000);
        assert_eq!(pacer.take(T + 169_999, 2), 0);
        assert_eq!(pacer.take(T + 170_000, 2), 2);
    }

    #[test]
    fn a_faster_rate_makes_no_longer_burst_of_the_credit_that_is_there() {
        let config = PacerConfig {
            train_packets: 1000,
            ..PacerConfig::default()
        };
        let mut pacer = Pacer::new(config, 1000.0);
        pacer.set_rate(8_000_000.0);
        assert_eq!(pacer.take(0, 33), 0);
        assert_eq!(pacer.take(0, 32), 32);
    }

    /// A million packets a second, in trains of 51.
    fn fast() -> Pacer {
        let config = PacerConfig {
            train_packets: 51,
            ..PacerConfig::default()
        };
        let mut pacer = Pacer::new(config, 800_000.0);
        let whole_trains: u32 = at_once(&mut pacer, T).iter().sum();
        assert_eq!(whole_trains + pacer.take(T, 300 - whole_trains), 300);
        pacer
    }

    #[test]
    fn a_fast_session_waits_once_for_several_trains() {
        let mut pacer = fast();
        assert_eq!(pacer.next_ns(1000), T + 150_000);
        assert_eq!(pacer.take(T + 149_999, 1000), 0);
        // 150 are worth the wait; what is no whole train counts towards the next.
        assert_eq!(at_once(&mut pacer, T + 150_000), [51, 51]);
        assert_eq!(pacer.next_ns(1000), T + 252_000);
        assert_eq!(at_once(&mut pacer, T + 255_000), [51, 51, 51]);
        // The end of a frame waits for its own packets alone, and is cut into trains like the rest.
        assert_eq!(pacer.next_ns(60), T + 315_000);
        assert_eq!(pacer.take(T + 314_999, 60), 0);
        assert_eq!(pacer.take(T + 315_000, 60), 51);
        assert_eq!(pacer.take(T + 315_000, 9), 9);
        assert_eq!(pacer.take(T + 315_000, 1), 0);
    }

    #[test]
    fn a_fast_session_catches_up_after_a_delay_that_is_no_longer_than_allowed() {
        for (late_us, caught_up) in [(50, 200), (150, 300), (151, 300), (10_000, 300)] {
            let mut pacer = fast();
            let at = T + 150_000 + late_us * 1_000;
            let sent: u32 = at_once(&mut pacer, at).iter().sum();
            let rest = caught_up - sent;
            assert!(rest < 51, "{late_us} us late: {sent}");
            assert_eq!(pacer.take(at, rest), rest, "{late_us} us late");
            assert_eq!(pacer.take(at, 1), 0, "{late_us} us late");
        }
    }

    #[test]
    fn a_rate_that_falls_in_the_midst_of_a_release_lets_no_more_go_than_a_slow_session_may() {
        let mut pacer = fast();
        assert_eq!(pacer.take(T + 300_000, 1000), 51);
        pacer.set_rate(1000.0);
        // 249 us of the credit are left, and are 24 packets at 100 a millisecond.
        assert_eq!(at_once(&mut pacer, T + 300_000), [24]);
        assert_eq!(pacer.take(T + 400_000, 1000), 0, "the release is over");
    }

    /// Two trains of 46 in a millisecond, never three, and 98 in all.
    fn bounded() -> Pacer {
        Pacer::new(
            PacerConfig {
                burst_packets: 46,
                packets_per_ms: 71,
                train_packets: 46,
                train_ns: 650_000,
                most_in_a_ms: 98,
                ..PacerConfig::default()
            },
            1000.0,
        )
    }

    #[test]
    fn what_a_millisecond_has_no_room_for_waits_until_a_train_is_a_millisecond_old() {
        let mut pacer = bounded();
        assert_eq!(pacer.take(T, 46), 46);
        // The bucket gave 53 for the next 746 us; frames of 8 take them as they come, the end of a frame waits for no train.
        for n in 0..6 {
            let at = T + 120_000 * (n + 1);
            assert_eq!(pacer.take(at, 8), 8, "{n}");
        }
        // 94 have left in this millisecond.
        let at = T + 900_000;
        assert_eq!(pacer.take(at, 8), 0, "94 and 8 are too many");
        assert_eq!(pacer.take(at, 4), 4, "94 and 4 are not");
        assert_eq!(pacer.take(at, 1), 0, "98 are as many as may be");
        assert_eq!(
            pacer.next_ns(1),
            T + MS_NS,
            "the 46 are a millisecond old then"
        );
        assert_eq!(pacer.take(T + MS_NS - 1, 1), 0);
        assert_eq!(pacer.take(T + MS_NS, 1), 1);
    }

    #[test]
    fn no_millisecond_has_more_than_its_bound_however_frames_follow_each_other() {
        for frame in [1, 3, 20, 45, 46, 47, 92, 500] {
            let (mut pacer, mut now, mut sent) = (bounded(), T, Vec::new());
            for _ in 0..2000 / frame {
                for (at, packets) in drain(&mut pacer, now, frame) {
                    now = at;
                    sent.push((at, packets));
                }
            }
            let busiest = sent.iter().map(|&(from, _)| {
                let within = |&&(at, _): &&(u64, u32)| at >= from && at < from + MS_NS;
                sent.iter().filter(within).map(|s| s.1).sum::<u32>()
            });
            let busiest = busiest.max().unwrap();
            assert!(
                busiest <= 98,
                "frames of {frame}: {busiest} in a millisecond"
            );
            let all: u32 = sent.iter().map(|s| s.1).sum();
            let took = now - T;
            assert!(
                u64::from(all - 46) * MS_NS / took >= 69,
                "frames of {frame}: {all} took {took} ns"
            );
        }
    }

    #[test]
    fn a_session_that_needs_more_than_the_floor_is_not_bound_by_the_millisecond() {
        let mut pacer = bounded();
        pacer.set_rate(100_000.0);
        assert_eq!(pacer.take(T, 46), 46);
        // 125 a millisecond: 46 after 368 us, three times within one.
        let sent: u32 = (1..=2).map(|n| pacer.take(T + n * 370_000, 46)).sum();
        assert_eq!(sent, 92);
        pacer.set_rate(1000.0);
        assert_eq!(pacer.take(T + 900_000, 46), 0);
    }
}
