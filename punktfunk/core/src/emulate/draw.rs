//! Counter-based randomness: every draw is a hash of (seed, direction, packet number, purpose).
//!
//! A draw depends on nothing that happened before it, so verdicts do not move with timing, batching or with the
//! number of draws that other features of the link make. Only integer and IEEE basic operations are used (no
//! `libm`), so the draws are the same on every machine.

/// What a draw decides; part of the hashed counter, so the order of these is a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Purpose {
    Loss = 1,
    State = 2,
    Duplicate = 3,
    Reorder = 4,
    Corrupt = 5,
    CorruptBit = 6,
    Jitter = 7,
}

/// Purposes of the second copy of a duplicated packet are shifted by this.
const COPY_STRIDE: u64 = 64;

/// A probability as the count of 53-bit values below it: 0 never happens, 1 always does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) const NEVER: Self = Self(0);

    /// `p` in 0..=1; validated by the spec.
    pub(super) fn new(p: f64) -> Self {
        Self((p * (1u64 << 53) as f64).round() as u64)
    }

    pub(super) fn is_never(self) -> bool {
        self.0 == 0
    }
}

/// The keyed hash of one link direction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draws {
    key: u64,
}

impl Draws {
    pub(super) fn new(seed: u64, direction: u8) -> Self {
        Self {
            key: mix(mix(seed ^ 0x6a09_e667_f3bc_c908) ^ u64::from(direction)),
        }
    }

    /// The draws of packet `index`, as copy 0 (the packet) or 1 (its duplicate).
    pub(super) fn packet(self, index: u64, copy: u8) -> PacketDraws {
        PacketDraws {
            base: mix(self.key ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            shift: u64::from(copy) * COPY_STRIDE,
        }
    }
}

/// The draws of one packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct PacketDraws {
    base: u64,
    shift: u64,
}

impl PacketDraws {
    pub(super) fn bits(self, purpose: Purpose) -> u64 {
        let counter = purpose as u64 + self.shift;
        mix(self
            .base
            .wrapping_add(counter.wrapping_mul(0xd1b5_4a32_d192_ed03)))
    }

    pub(super) fn happens(self, purpose: Purpose, chance: Chance) -> bool {
        (self.bits(purpose) >> 11) < chance.0
    }

    /// Uniform in (0, 1), never 0 or 1.
    pub(super) fn unit(self, purpose: Purpose) -> f64 {
        ((self.bits(purpose) >> 12) as f64 + 0.5) * (1.0 / (1u64 << 52) as f64)
    }
}

/// The 64-bit finaliser of SplitMix64 (Stafford's variant 13).
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Standard normal quantile of `u` in (0, 1): Acklam's rational approximation, relative error below 1.2e-9.
pub(super) fn normal_quantile(u: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 5] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 4] = [
        7.784_695_709_041_462e-3,
        3.224_671_290_700_398e-1,
        2.445_134_137_142_996,
        3.754_408_661_907_416,
    ];
    const TAIL: f64 = 0.02425;
    let tail = |p: f64| {
        let q = (-2.0 * ln(p)).sqrt();
        (((((C[0] * q + C[1]) * q + C[2]) * q + C[3]) * q + C[4]) * q + C[5])
            / ((((D[0] * q + D[1]) * q + D[2]) * q + D[3]) * q + 1.0)
    };
    if u < TAIL {
        tail(u)
    } else if u > 1.0 - TAIL {
        -tail(1.0 - u)
    } else {
        let q = u - 0.5;
        let r = q * q;
        (((((A[0] * r + A[1]) * r + A[2]) * r + A[3]) * r + A[4]) * r + A[5]) * q
            / (((((B[0] * r + B[1]) * r + B[2]) * r + B[3]) * r + B[4]) * r + 1.0)
    }
}

/// Pareto (Lomax) quantile of shape 3 and mean 1, cut off at the 1 - 1e-6 quantile (198 times the mean).
pub(super) fn pareto_quantile(u: f64) -> f64 {
    let survival = (1.0 - u).max(1e-6);
    2.0 * (1.0 / cube_root(survival) - 1.0)
}

/// Natural logarithm of a normal positive number by basic operations: 2 atanh((m-1)/(m+1)) + e ln 2.
fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) & 0x7ff) as i64 - 1023;
    let mut mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000);
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    let z = (mantissa - 1.0) / (mantissa + 1.0);
    let z2 = z * z;
    let mut sum = 0.0;
    let mut k = 21.0;
    while k >= 1.0 {
        sum = sum * z2 + 1.0 / k;
        k -= 2.0;
    }
    2.0 * z * sum + exponent as f64 * std::f64::consts::LN_2
}

/// Cube root of a number in [1e-6, 1] by Newton's method from an estimate good to 5 %.
fn cube_root(x: f64) -> f64 {
    let mut y = f64::from_bits(x.to_bits() / 3 + 0x2a9f_7893_0000_0000);
    for _ in 0..4 {
        y = (2.0 * y + x / (y * y)) * (1.0 / 3.0);
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_of_a_seed_never_change() {
        // Results, baselines and bug reports quote seeds: these values are a format.
        let draws = Draws::new(7, 0);
        let got: Vec<u64> = (0..3)
            .map(|n| draws.packet(n, 0).bits(Purpose::Loss))
            .collect();
        assert_eq!(
            got,
            [
                8397019368578304535,
                5162105168321073670,
                17345791373287126065
            ]
        );
        // Worked out by another implementation of the same hash.
        for (seed, direction, index, copy, purpose, bits) in [
            (7, 0, 0, 0, Purpose::State, 13979782594379672772),
            (7, 1, 0, 0, Purpose::Loss, 2386054218776638727),
            (7, 0, 0, 1, Purpose::Loss, 4963133694622898616),
            (u64::MAX, 0, 1, 0, Purpose::Duplicate, 12573882915584720749),
            (
                0xdead_beef_cafe_f00d,
                1,
                2,
                1,
                Purpose::Reorder,
                14490007759510548045,
            ),
            (
                0xdead_beef_cafe_f00d,
                0,
                u64::MAX,
                0,
                Purpose::Corrupt,
                17393213502087023716,
            ),
            (
                (1 << 63) | 5,
                1,
                1 << 40,
                1,
                Purpose::CorruptBit,
                8463902219649105604,
            ),
            (0, 0, 9, 1, Purpose::Jitter, 1861218036568095677),
        ] {
            let draws = Draws::new(seed, direction).packet(index, copy);
            assert_eq!(draws.bits(purpose), bits, "{seed} {purpose:?}");
        }
    }

    #[test]
    fn the_lowest_and_the_highest_draw_are_within_their_ranges() {
        // The preimages of all zeros and of all ones.
        let of = |base| PacketDraws { base, shift: 0 };
        let (lowest, highest) = (of(0x2e4a_b5cd_2e6d_12fd), of(0xfde4_ba7d_28d8_c0bd));
        assert_eq!(lowest.bits(Purpose::Loss), 0);
        assert_eq!(highest.bits(Purpose::Loss), u64::MAX);
        assert!(!lowest.happens(Purpose::Loss, Chance::NEVER));
        assert!(lowest.happens(Purpose::Loss, Chance(1)));
        assert!(!highest.happens(Purpose::Loss, Chance((1 << 53) - 1)));
        assert!(highest.happens(Purpose::Loss, Chance::new(1.0)));
        assert_eq!(lowest.unit(Purpose::Loss), 0.5f64.powi(53));
        assert_eq!(highest.unit(Purpose::Loss), 1.0 - 0.5f64.powi(53));
    }

    #[test]
    fn a_probability_becomes_the_nearest_count_and_is_never_only_at_zero() {
        assert_eq!(Chance::new(0.375), Chance(3 << 50));
        assert_eq!(Chance::new(0.75 * 0.5f64.powi(53)), Chance(1));
        assert!(Chance::new(0.25 * 0.5f64.powi(53)).is_never());
        assert!(!Chance::new(0.5f64.powi(53)).is_never());
        assert!(!Chance::new(1.0).is_never());
    }

    #[test]
    fn chances_of_zero_and_one_are_exact() {
        let draws = Draws::new(1, 0);
        for n in 0..10_000 {
            assert!(!draws.packet(n, 0).happens(Purpose::Loss, Chance::new(0.0)));
            assert!(draws.packet(n, 0).happens(Purpose::Loss, Chance::new(1.0)));
        }
    }

    #[test]
    fn purposes_and_neighbouring_packets_are_uncorrelated() {
        let draws = Draws::new(99, 0);
        let n = 200_000u64;
        let half = Chance::new(0.5);
        let mut agree = [0u64; 3];
        for i in 0..n {
            let a = draws.packet(i, 0).happens(Purpose::Loss, half);
            agree[0] += u64::from(a == draws.packet(i + 1, 0).happens(Purpose::Loss, half));
            agree[1] += u64::from(a == draws.packet(i, 0).happens(Purpose::Duplicate, half));
            agree[2] += u64::from(a == draws.packet(i, 1).happens(Purpose::Loss, half));
        }
        for count in agree {
            // six standard deviations of Binomial(n, 1/2)
            let off = (count as f64 - n as f64 / 2.0).abs();
            assert!(off < 3.0 * (n as f64).sqrt(), "{agree:?}");
        }
    }

    #[test]
    fn normal_quantiles_are_those_of_another_library_in_both_tails_and_between() {
        assert_eq!(normal_quantile(0.5), 0.0);
        // Python's statistics.NormalDist().inv_cdf, good to 1e-16.
        for (u, z) in [
            (1e-12, -7.034_483_825_301_132),
            (1e-6, -4.753_424_308_822_899),
            (0.001, -3.090_232_306_167_813),
            (0.0242, -1.973_839_463_313_199_3),
            (0.0243, -1.972_084_159_029_288_4),
            (0.1, -1.281_551_565_544_600_8),
            (0.3, -0.524_400_512_708_040_7),
            (0.501, 0.002_506_630_899_571_766_6),
            (0.6, 0.253_347_103_135_799_8),
            (0.841_344_746, 0.999_999_999_716_730_3),
            (0.975, 1.959_963_984_540_053_6),
            (0.9758, 1.973_839_463_313_199_3),
            (0.99, 2.326_347_874_040_840_8),
            (0.999_999, 4.753_424_308_817_089),
        ] {
            let error = (normal_quantile(u) / z - 1.0).abs();
            assert!(error < 1.2e-9, "{u}: {error:e}");
        }
        // Where two of the three formulas meet they differ by 4e-9; the middle one has both ends.
        for (u, z) in [
            (0.02425, -1.972_961_049_084_871),
            (0.97575, 1.972_961_049_084_871),
        ] {
            assert!((normal_quantile(u) - z).abs() < 1e-13, "{u}");
        }
    }

    #[test]
    fn pareto_quantiles_match_known_values() {
        // (1-u)^(-1/3) = 2 at u = 7/8, 5/4 at 61/125
        assert!((pareto_quantile(0.875) - 2.0).abs() < 1e-12);
        assert!((pareto_quantile(0.488) - 0.5).abs() < 1e-12);
        assert!((pareto_quantile(1.0) - 198.0).abs() < 1e-9);
        assert!((pareto_quantile(1.0 - 2e-6) - 156.740_104).abs() < 1e-5);
    }

    #[test]
    fn logarithms_and_cube_roots_are_those_of_the_mathematical_library() {
        for x in [
            f64::MIN_POSITIVE,
            1e-300,
            1e-6,
            0.3,
            0.75,
            1.0,
            1.41,
            1.42,
            1.999_999,
            7.0,
            1e9,
        ] {
            assert!(
                (ln(x) - x.ln()).abs() <= 4e-15 * x.ln().abs().max(0.1),
                "{x}"
            );
        }
        for x in [1e-6, 1.7e-5, 0.003, 0.05, 0.3, 0.7, 1.0] {
            assert!((cube_root(x) / x.cbrt() - 1.0).abs() < 1e-15, "{x}");
        }
    }
}
