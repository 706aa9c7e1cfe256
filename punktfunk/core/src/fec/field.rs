//! A field of characteristic 2 by discrete logarithms.

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
