//! The spec compiled for the model: parameters as integers, and which of them hold at a time.

use super::draw::Chance;
use super::spec::{
    CorruptMode, DEFAULT_QUEUE_PACKETS, JitterDistribution, LinkSpec, LossSpec, MAX_QUEUE_PACKETS,
};
use super::validate::LinkSpecError;

/// Loss with its probabilities compiled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Loss {
    None,
    Independent(Chance),
    GilbertElliott {
        to_bad: Chance,
        to_good: Chance,
        in_bad: Chance,
        in_good: Chance,
        /// Stationary probability of the bad state, p / (p + r).
        begins_bad: Chance,
    },
    Periodic {
        every: u64,
        offset: u64,
    },
}

/// What holds for a packet that arrives now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Params {
    pub rate_kbps: Option<u64>,
    pub queue_packets: usize,
    pub queue_bytes: u64,
    pub overhead_bytes: u64,
    pub delay_ns: u64,
    pub jitter_ns: f64,
    pub distribution: JitterDistribution,
    pub jitter_reorder: bool,
    pub loss: Loss,
    pub reorder: Chance,
    pub reorder_extra_ns: u64,
    pub duplicate: Chance,
    pub corrupt: Chance,
    pub corrupt_mode: CorruptMode,
}

impl Params {
    fn new(spec: &LinkSpec) -> Self {
        let unlimited_bytes = spec.queue_bytes.is_none();
        Self {
            rate_kbps: spec.rate_kbps,
            queue_packets: match spec.queue_packets {
                Some(packets) => packets as usize,
                None if unlimited_bytes => DEFAULT_QUEUE_PACKETS as usize,
                None => MAX_QUEUE_PACKETS as usize,
            },
            queue_bytes: spec.queue_bytes.unwrap_or(u64::MAX),
            overhead_bytes: u64::from(spec.overhead_bytes),
            delay_ns: ns(spec.delay_us),
            jitter_ns: spec.jitter_us * 1e3,
            distribution: spec.jitter_distribution,
            jitter_reorder: spec.jitter_reorder,
            loss: match spec.loss {
                LossSpec::None {} => Loss::None,
                LossSpec::Independent { p } => Loss::Independent(Chance::new(p)),
                LossSpec::GilbertElliott { p, r, bad, good } => Loss::GilbertElliott {
                    to_bad: Chance::new(p),
                    to_good: Chance::new(r),
                    in_bad: Chance::new(bad),
                    in_good: Chance::new(good),
                    begins_bad: Chance::new(p / (p + r)),
                },
                LossSpec::Periodic { every, offset } => Loss::Periodic { every, offset },
            },
            reorder: spec.reorder.map_or(Chance::NEVER, |r| Chance::new(r.p)),
            reorder_extra_ns: spec.reorder.map_or(0, |r| ns(r.extra_us)),
            duplicate: Chance::new(spec.duplicate),
            corrupt: Chance::new(spec.corrupt),
            corrupt_mode: spec.corrupt_mode,
        }
    }
}

fn ns(us: f64) -> u64 {
    (us * 1e3).round() as u64
}

/// A trace point with what earlier points set carried forward.
#[derive(Debug, Clone, Copy)]
struct TraceStep {
    at_ns: u64,
    rate_kbps: Option<u64>,
    delay_ns: Option<u64>,
    loss: Option<Chance>,
}

/// Parameters and the end of the time in which they hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub params: Params,
    /// First ns at which something else holds; `u64::MAX` = never.
    pub until_ns: u64,
}

/// The whole life of a link, in ns since its start.
#[derive(Debug, Clone)]
pub(super) struct Timeline {
    steps: Vec<(u64, Params)>,
    trace: Vec<TraceStep>,
    period_ns: Option<u64>,
}

impl Timeline {
    pub(super) fn new(spec: &LinkSpec) -> Result<Self, LinkSpecError> {
        spec.validate()?;
        let steps = spec
            .steps()?
            .iter()
            .map(|(at_ms, spec)| (ns(at_ms * 1e3), Params::new(spec)))
            .collect();
        let mut trace: Vec<TraceStep> = Vec::with_capacity(spec.trace.len());
        for point in &spec.trace {
            let before = trace.last();
            trace.push(TraceStep {
                at_ns: ns(point.at_ms * 1e3),
                rate_kbps: point.rate_kbps.or(before.and_then(|b| b.rate_kbps)),
                delay_ns: point.delay_us.map(ns).or(before.and_then(|b| b.delay_ns)),
                loss: point
                    .loss_p
                    .map(Chance::new)
                    .or(before.and_then(|b| b.loss)),
            });
        }
        let period_ns = match trace.as_slice() {
            [.., a, b] if spec.trace_repeat => Some(b.at_ns + (b.at_ns - a.at_ns)),
            _ => None,
        };
        Ok(Self {
            steps,
            trace,
            period_ns,
        })
    }

    /// What holds at `at_ns` and until when.
    pub(super) fn segment(&self, at_ns: u64) -> Segment {
        let next = self.steps.partition_point(|(from, _)| *from <= at_ns);
        // steps[0] begins at 0; a change at 0 ms is steps[1] and comes after it.
        let mut params = self.steps[next - 1].1;
        let mut until_ns = self.steps.get(next).map_or(u64::MAX, |(from, _)| *from);
        if !self.trace.is_empty() {
            let (cycle_ns, phase_ns) = match self.period_ns {
                Some(period) => (at_ns - at_ns % period, at_ns % period),
                None => (0, at_ns),
            };
            let next = self.trace.partition_point(|step| step.at_ns <= phase_ns);
            let end_ns = match (self.trace.get(next), self.period_ns) {
                (Some(step), _) => cycle_ns.saturating_add(step.at_ns),
                (None, Some(period)) => cycle_ns.saturating_add(period),
                (None, None) => u64::MAX,
            };
            until_ns = until_ns.min(end_ns);
            if let Some(step) = next.checked_sub(1).map(|i| self.trace[i]) {
                if step.rate_kbps.is_some() {
                    params.rate_kbps = step.rate_kbps;
                }
                if let Some(delay_ns) = step.delay_ns {
                    params.delay_ns = delay_ns;
                }
                if let Some(p) = step.loss {
                    params.loss = Loss::Independent(p);
                }
            }
        }
        Segment { params, until_ns }
    }

    /// Whether no point of the trace has a rate, so that an outage that has begun lasts for ever.
    pub(super) fn is_dead(&self) -> bool {
        self.trace.iter().all(|step| step.rate_kbps == Some(0))
    }
}
