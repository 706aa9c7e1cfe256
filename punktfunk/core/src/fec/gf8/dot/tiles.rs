//! The walk over shards that all kernels with registers share.

/// Arithmetic on one register of bytes.
///
/// All functions are inlined into a function that enables the features, so that intrinsics become instructions.
///
/// # Safety
/// The processor must have the features that the implementation is made of.
pub(super) trait Lane {
    /// Bytes of a shard.
    type Bytes: Copy;
    /// What products of an input's bytes are looked up by.
    type Operand: Copy;
    /// A constant, ready to multiply by.
    type Factor: Copy;
    /// Bytes of a register.
    const BYTES: usize;
    /// Whether two inputs at a time are faster: where one instruction adds two products to a sum, and registers
    /// suffice.
    const PAIRS: bool;

    /// # Safety
    /// See [`Lane`].
    unsafe fn zero() -> Self::Bytes;

    /// # Safety
    /// `bytes` bytes, up to [`Lane::BYTES`], are readable at `at`; see [`Lane`].
    unsafe fn load(at: *const u8, bytes: usize) -> Self::Operand;

    /// # Safety
    /// `bytes` bytes, up to [`Lane::BYTES`], are writable at `at`; see [`Lane`].
    unsafe fn store(at: *mut u8, bytes: usize, value: Self::Bytes);

    /// # Safety
    /// See [`Lane`].
    unsafe fn factor(word: u64) -> Self::Factor;

    /// `sum` and a product.
    ///
    /// # Safety
    /// See [`Lane`].
    unsafe fn add(sum: Self::Bytes, operand: Self::Operand, factor: Self::Factor) -> Self::Bytes;

    /// `sum` and two products.
    ///
    /// # Safety
    /// See [`Lane`].
    #[inline(always)]
    unsafe fn add_both(
        sum: Self::Bytes,
        operands: [Self::Operand; 2],
        factors: [Self::Factor; 2],
    ) -> Self::Bytes {
        // SAFETY: promised by the caller.
        unsafe {
            let sum = Self::add(sum, operands[0], factors[0]);
            Self::add(sum, operands[1], factors[1])
        }
    }
}

/// Compute `R` outputs, `V` registers of each at a time.
///
/// What is left behind the last `V` registers takes one more step, of registers that end with the shard and so begin within
/// what was made before: outputs are never read, and their bytes are made again as they were.
///
/// # Safety
/// There are `R` outputs, all shards have one length, and `factors` has an entry for each pair of input and output;
/// see [`Lane`].
#[inline(always)]
pub(super) unsafe fn shards<L: Lane, const R: usize, const V: usize>(
    outputs: &mut [&mut [u8]],
    inputs: &[&[u8]],
    factors: &[u64],
) {
    const { assert!(V <= 8) };
    let length = outputs[0].len();
    let outputs: [*mut u8; R] = std::array::from_fn(|r| outputs[r].as_mut_ptr());
    let mut at = 0;
    // SAFETY: each step ends at or before `length`, which every shard has.
    unsafe {
        while at + V * L::BYTES <= length {
            step::<L, R, V>(&outputs, inputs, factors, at, L::BYTES);
            at += V * L::BYTES;
        }
        let registers = (length - at).div_ceil(L::BYTES);
        if registers * L::BYTES > length {
            // A shard of fewer registers than a step has, and bytes behind them.
            while at + L::BYTES <= length {
                step::<L, R, 1>(&outputs, inputs, factors, at, L::BYTES);
                at += L::BYTES;
            }
            return step::<L, R, 1>(&outputs, inputs, factors, at, length - at);
        }
        let at = length - registers * L::BYTES;
        match registers {
            0 => {}
            1 => step::<L, R, 1>(&outputs, inputs, factors, at, L::BYTES),
            2 if V >= 2 => step::<L, R, 2>(&outputs, inputs, factors, at, L::BYTES),
            3 if V >= 3 => step::<L, R, 3>(&outputs, inputs, factors, at, L::BYTES),
            4 if V >= 4 => step::<L, R, 4>(&outputs, inputs, factors, at, L::BYTES),
            5 if V >= 5 => step::<L, R, 5>(&outputs, inputs, factors, at, L::BYTES),
            6 if V >= 6 => step::<L, R, 6>(&outputs, inputs, factors, at, L::BYTES),
            7 if V >= 7 => step::<L, R, 7>(&outputs, inputs, factors, at, L::BYTES),
            _ if V >= 8 => step::<L, R, 8>(&outputs, inputs, factors, at, L::BYTES),
            _ => unreachable!("fewer registers than a step has, and a part of another"),
        }
    }
}

/// Load `V` registers of an input, or of one register the first `bytes` bytes.
///
/// # Safety
/// These bytes are readable at `at`; see [`Lane`].
#[inline(always)]
unsafe fn load<L: Lane, const V: usize>(at: *const u8, bytes: usize) -> [L::Operand; V] {
    // SAFETY: promised by the caller.
    let mut operands = unsafe { [L::load(at, bytes); V] };
    for (v, operand) in operands.iter_mut().enumerate().skip(1) {
        // SAFETY: promised by the caller.
        *operand = unsafe { L::load(at.add(v * L::BYTES), bytes) };
    }
    operands
}

/// Compute `V` registers of `R` outputs from `at` on, or of one register the first `bytes` bytes.
///
/// # Safety
/// These bytes are accessible at `at` in every output and input, `factors` has an entry for each pair of input and
/// output, and outputs are distinct from inputs; see [`Lane`].
#[inline(always)]
unsafe fn step<L: Lane, const R: usize, const V: usize>(
    outputs: &[*mut u8; R],
    inputs: &[&[u8]],
    factors: &[u64],
    at: usize,
    bytes: usize,
) {
    // SAFETY: promised by the caller, here and in all that follows.
    let mut sums = unsafe { [[L::zero(); V]; R] };
    let paired = if L::PAIRS { inputs.len() / 2 * 2 } else { 0 };
    let (pairs, singles) = inputs.split_at(paired);
    let (factors_of_pairs, factors_of_singles) = factors.split_at(paired * R);
    let pairs = pairs.chunks_exact(2);
    for (pair, factors) in pairs.zip(factors_of_pairs.chunks_exact(2 * R)) {
        // SAFETY: as above.
        let (first, second) = unsafe {
            (
                load::<L, V>(pair[0].as_ptr().add(at), bytes),
                load::<L, V>(pair[1].as_ptr().add(at), bytes),
            )
        };
        for (r, sums) in sums.iter_mut().enumerate() {
            // SAFETY: as above.
            let factors = unsafe { [L::factor(factors[r]), L::factor(factors[R + r])] };
            for (v, sum) in sums.iter_mut().enumerate() {
                // SAFETY: as above.
                *sum = unsafe { L::add_both(*sum, [first[v], second[v]], factors) };
            }
        }
    }
    for (input, factors) in singles.iter().zip(factors_of_singles.chunks_exact(R)) {
        // SAFETY: as above.
        let operands = unsafe { load::<L, V>(input.as_ptr().add(at), bytes) };
        for (sums, &factor) in sums.iter_mut().zip(factors) {
            // SAFETY: as above.
            let factor = unsafe { L::factor(factor) };
            for (sum, &operand) in sums.iter_mut().zip(&operands) {
                // SAFETY: as above.
                *sum = unsafe { L::add(*sum, operand, factor) };
            }
        }
    }
    for (&output, sums) in outputs.iter().zip(&sums) {
        for (v, &sum) in sums.iter().enumerate() {
            // SAFETY: as above.
            unsafe { L::store(output.add(at + v * L::BYTES), bytes, sum) };
        }
    }
}

/// Define `DOT`, whose `sums` runs [`shards`] with these features: for each number of outputs, how many registers of
/// each are made at a time, up to eight.
macro_rules! dot {
    ($lane:ty, $features:literal, $table:path, $interpolation:ident, $($rows:literal x $wide:literal),+) => {
        pub(in crate::fec) static DOT: super::Dot = super::Dot {
            factors: &$table,
            interpolation: &$interpolation::INTERPOLATION,
            rows: const {
                let rows = [$($rows),+];
                rows[rows.len() - 1]
            },
            sums,
        };

        /// # Safety
        /// See [`super::Sums`].
        unsafe fn sums(outputs: &mut [&mut [u8]], inputs: &[&[u8]], factors: &[u64]) {
            // SAFETY: promised by the caller; each arm has as many outputs as there are.
            unsafe {
                match outputs.len() {
                    $($rows => rows::<$rows, $wide>(outputs, inputs, factors),)+
                    count => unreachable!("{count} outputs at once"),
                }
            }
        }

        /// # Safety
        /// See [`super::tiles::shards`].
        #[target_feature(enable = $features)]
        unsafe fn rows<const R: usize, const V: usize>(
            outputs: &mut [&mut [u8]],
            inputs: &[&[u8]],
            factors: &[u64],
        ) {
            // SAFETY: promised by the caller.
            unsafe { super::tiles::shards::<$lane, R, V>(outputs, inputs, factors) }
        }
    };
}
pub(super) use dot;
