//! The closed form that both codes share: a generalised Cauchy matrix over a field of characteristic 2.
//!
//! Recovery shard `j` is the sum over data shards `i` of `r[j] * s[i] / (x[j] + y[i])`, with all points `x`, `y`
//! distinct. Every square submatrix of such a matrix is invertible and its inverse has a closed form too, so
//! `e` lost shards cost `e * k` shard multiplications and `O(e^2)` field operations: no elimination, and no
//! work that does not shrink with the losses. Everything is computed on discrete logarithms.

/// Field elements as indices of the discrete logarithm.
pub(crate) trait Field: 'static {
    /// A field element.
    type Element: Copy + Default;
    /// Order of the multiplicative group: the modulus of logarithms.
    const GROUP: u32;
    /// Discrete logarithm of a non-zero element.
    fn log(element: usize) -> u32;
    /// Element of a logarithm below [`Field::GROUP`].
    fn exp(log: u32) -> Self::Element;
}

/// Computes `outputs[r] (+)= sum over c of coefficients[c * outputs.len() + r] * inputs[c]`.
pub(crate) type MulAdd<E> =
    fn(outputs: &mut [&mut [u8]], inputs: &[&[u8]], coefficients: &[E], overwrite: bool);

/// Most outputs in one kernel call: that many accumulators fit into registers.
pub(crate) const ROWS: usize = 4;
/// Most inputs in one kernel call: 32 shards of 1200 bytes fit into 48 KiB of L1 next to the outputs.
pub(crate) const COLUMNS: usize = 32;

/// The points and scales of one geometry, as logarithms where they are factors.
pub(crate) struct Matrix<F: Field> {
    first_row_point: usize,
    first_column_point: usize,
    row_scale_log: Vec<u32>,
    column_scale_log: Vec<u32>,
    field: std::marker::PhantomData<F>,
}

impl<F: Field> Matrix<F> {
    /// Rows have points `first_row_point + j`, columns `first_column_point + i`; an absent scale is 1.
    pub(crate) fn new(
        first_row_point: usize,
        first_column_point: usize,
        row_scale_log: Vec<u32>,
        column_scale_log: Vec<u32>,
    ) -> Self {
        Self {
            first_row_point,
            first_column_point,
            row_scale_log,
            column_scale_log,
            field: std::marker::PhantomData,
        }
    }

    fn row_log(&self, j: usize) -> u32 {
        self.row_scale_log.get(j).copied().unwrap_or(0)
    }

    fn column_log(&self, i: usize) -> u32 {
        self.column_scale_log.get(i).copied().unwrap_or(0)
    }

    fn sum_log(&self, j: usize, i: usize) -> u32 {
        F::log((self.first_row_point + j) ^ (self.first_column_point + i))
    }

    /// Coefficient of data shard `i` in recovery shard `j`.
    pub(crate) fn at(&self, j: usize, i: usize) -> F::Element {
        F::exp((self.row_log(j) + self.column_log(i) + F::GROUP - self.sum_log(j, i)) % F::GROUP)
    }

    /// Compute all recovery shards.
    pub(crate) fn encode(
        &self,
        kernel: MulAdd<F::Element>,
        data: &[&[u8]],
        parity: &mut [&mut [u8]],
    ) {
        multiply(kernel, parity, data, |j, i| self.at(j, i), true);
    }

    /// Compute the lost data shards `lost` (index, destination) from the `known` ones and as many recovery
    /// shards as are lost.
    pub(crate) fn reconstruct(
        &self,
        kernel: MulAdd<F::Element>,
        known: &[(usize, &[u8])],
        lost: &mut [(usize, &mut [u8])],
        recovery: &[(usize, &[u8])],
    ) {
        debug_assert_eq!(lost.len(), recovery.len());
        let Some(shard_bytes) = recovery.first().map(|(_, shard)| shard.len()) else {
            return;
        };

        // Syndromes: what the recovery shards hold beyond the known data.
        let mut room = vec![0; shard_bytes * recovery.len()];
        for (syndrome, (_, shard)) in room.chunks_exact_mut(shard_bytes).zip(recovery) {
            syndrome.copy_from_slice(shard);
        }
        let known_shards: Vec<&[u8]> = known.iter().map(|&(_, shard)| shard).collect();
        let mut syndromes: Vec<&mut [u8]> = room.chunks_exact_mut(shard_bytes).collect();
        multiply(
            kernel,
            &mut syndromes,
            &known_shards,
            |r, c| self.at(recovery[r].0, known[c].0),
            false,
        );

        let columns: Vec<usize> = lost.iter().map(|&(i, _)| i).collect();
        let rows: Vec<usize> = recovery.iter().map(|&(j, _)| j).collect();
        let inverse = self.inverse(&rows, &columns);
        let syndromes: Vec<&[u8]> = syndromes.into_iter().map(|shard| &*shard).collect();
        let mut destinations: Vec<&mut [u8]> =
            lost.iter_mut().map(|(_, shard)| &mut **shard).collect();
        let width = rows.len();
        multiply(
            kernel,
            &mut destinations,
            &syndromes,
            |l, j| inverse[l * width + j],
            true,
        );
    }

    /// Inverse of the submatrix of these rows and columns, row-major, one row for each of `columns`.
    ///
    /// For `C[j][l] = 1 / (x[j] + y[l])` the inverse is `a[j] * b[l] / (x[j] + y[l])` with
    /// `a[j] = prod_t (x[j] + y[t]) / prod_{t != j} (x[j] + x[t])` and
    /// `b[l] = prod_t (x[t] + y[l]) / prod_{t != l} (y[l] + y[t])`; the scales divide out on either side.
    fn inverse(&self, rows: &[usize], columns: &[usize]) -> Vec<F::Element> {
        let group = u64::from(F::GROUP);
        let reduce = |numerator: u64, denominator: u64| -> u32 {
            let log = (numerator + group - denominator % group) % group;
            u32::try_from(log).expect("below the group order")
        };
        let others = |points: &[usize], first: usize, own: usize| -> u64 {
            points
                .iter()
                .filter(|&&point| point != own)
                .map(|&point| u64::from(F::log((first + point) ^ (first + own))))
                .sum()
        };
        let row_factor: Vec<u32> = rows
            .iter()
            .map(|&j| {
                let numerator = columns.iter().map(|&l| u64::from(self.sum_log(j, l))).sum();
                reduce(
                    numerator,
                    others(rows, self.first_row_point, j) + u64::from(self.row_log(j)),
                )
            })
            .collect();
        let column_factor: Vec<u32> = columns
            .iter()
            .map(|&l| {
                let numerator = rows.iter().map(|&j| u64::from(self.sum_log(j, l))).sum();
                reduce(
                    numerator,
                    others(columns, self.first_column_point, l) + u64::from(self.column_log(l)),
                )
            })
            .collect();
        let mut inverse = Vec::with_capacity(rows.len() * columns.len());
        for (&l, b) in columns.iter().zip(&column_factor) {
            for (&j, a) in rows.iter().zip(&row_factor) {
                inverse.push(F::exp((a + b + F::GROUP - self.sum_log(j, l)) % F::GROUP));
            }
        }
        inverse
    }
}

/// Multiply a matrix with shards, in tiles that stay in the first-level cache.
fn multiply<E: Copy + Default>(
    kernel: MulAdd<E>,
    outputs: &mut [&mut [u8]],
    inputs: &[&[u8]],
    coefficient: impl Fn(usize, usize) -> E,
    overwrite: bool,
) {
    debug_assert!(!(overwrite && inputs.is_empty()), "nothing to write");
    let mut coefficients = [E::default(); ROWS * COLUMNS];
    for (tile, columns) in inputs.chunks(COLUMNS).enumerate() {
        for (group, rows) in outputs.chunks_mut(ROWS).enumerate() {
            let height = rows.len();
            for c in 0..columns.len() {
                for r in 0..height {
                    coefficients[c * height + r] =
                        coefficient(group * ROWS + r, tile * COLUMNS + c);
                }
            }
            kernel(
                rows,
                columns,
                &coefficients[..height * columns.len()],
                overwrite && tile == 0,
            );
        }
    }
}
