//! Structs that begin with their own size, so that they can grow at their end (ADR 0175).
//!
//! A program says how long it knows a struct to be. Fields that it does not know are 0 to this build; fields that this build does
//! not know have to be 0, for they would ask for something that it cannot do.

use std::mem::MaybeUninit;

use super::PunktfunkStatus;

/// Longest that any struct of this interface will be: a larger size is one that nobody set.
const MAX_BYTES: usize = 4096;
/// Bytes of the size itself.
const SIZE_BYTES: usize = size_of::<u32>();

/// A struct whose first field is a `u32`, its size in bytes.
///
/// # Safety
/// It is `#[repr(C)]` and made of integers alone, so that any bytes are a value of it, and has no padding.
pub(super) unsafe trait Growing: Copy {
    /// Bytes of the struct as it was first published.
    const FIRST_BYTES: usize;
}

/// The size that a caller says a struct has.
///
/// # Safety
/// `of` must be NULL or point to at least four readable bytes.
unsafe fn said<T: Growing>(of: *const T) -> Result<usize, PunktfunkStatus> {
    const { assert!(T::FIRST_BYTES >= SIZE_BYTES && T::FIRST_BYTES <= size_of::<T>()) };
    if of.is_null() {
        return Err(PunktfunkStatus::NullPointer);
    }
    // SAFETY: promised by the caller. The size is read alone: a shorter struct may end behind it.
    let bytes = unsafe { of.cast::<u32>().read_unaligned() } as usize;
    if (T::FIRST_BYTES..=MAX_BYTES).contains(&bytes) {
        Ok(bytes)
    } else {
        Err(PunktfunkStatus::InvalidArg)
    }
}

/// Copy a caller's struct; what it does not have is 0.
///
/// # Safety
/// `from` must be NULL, or point to at least four readable bytes and to as many as they say.
pub(super) unsafe fn read<T: Growing>(from: *const T) -> Result<T, PunktfunkStatus> {
    // SAFETY: promised by the caller.
    let bytes = unsafe { said(from)? };
    let known = bytes.min(size_of::<T>());
    let from = from.cast::<u8>();
    // SAFETY: the caller says that the struct has `bytes` bytes, of which these are the last.
    let beyond = unsafe { std::slice::from_raw_parts(from.add(known), bytes - known) };
    if beyond.iter().any(|byte| *byte != 0) {
        return Err(PunktfunkStatus::Unsupported);
    }
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: both have `known` bytes, and any bytes are a value of `T`.
    unsafe {
        from.copy_to_nonoverlapping(value.as_mut_ptr().cast(), known);
        Ok(value.assume_init())
    }
}

/// Fill a caller's struct as far as it has room; its size stays, and what this build does not know becomes 0.
///
/// # Safety
/// `to` must be NULL, or point to at least four bytes and to as many as they say, all of them readable and writable.
pub(super) unsafe fn write<T: Growing>(to: *mut T, value: &T) -> Result<(), PunktfunkStatus> {
    // SAFETY: promised by the caller.
    let bytes = unsafe { said(to.cast_const())? };
    let known = bytes.min(size_of::<T>());
    let (from, to) = (ptr_of(value), to.cast::<u8>());
    // SAFETY: `to` has `bytes` bytes and `from` has `known`; both are longer than the size, and different objects.
    unsafe {
        from.add(SIZE_BYTES)
            .copy_to_nonoverlapping(to.add(SIZE_BYTES), known - SIZE_BYTES);
        to.add(known).write_bytes(0, bytes - known);
    }
    Ok(())
}

fn ptr_of<T>(value: &T) -> *const u8 {
    std::ptr::from_ref(value).cast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Then {
        struct_size: u32,
        first: u32,
    }

    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Now {
        struct_size: u32,
        first: u32,
        second: u64,
    }

    // SAFETY: integers alone, without padding.
    unsafe impl Growing for Then {
        const FIRST_BYTES: usize = 8;
    }
    // SAFETY: likewise.
    unsafe impl Growing for Now {
        const FIRST_BYTES: usize = 8;
    }

    #[test]
    fn a_program_of_before_leaves_the_new_fields_0_and_gets_none_of_them() {
        let mut then = Then {
            struct_size: 8,
            first: 7,
        };
        let now = Now {
            struct_size: 8,
            first: 7,
            second: 0,
        };
        // SAFETY: the struct has the eight bytes that it says.
        unsafe {
            assert_eq!(read((&raw const then).cast::<Now>()), Ok(now));
            let told = Now {
                struct_size: 16,
                first: 9,
                second: 9,
            };
            assert_eq!(write((&raw mut then).cast::<Now>(), &told), Ok(()));
        }
        assert_eq!((then.struct_size, then.first), (8, 9));
    }

    #[test]
    fn a_program_of_later_is_refused_only_where_it_asks_for_what_is_not_known() {
        let mut later = Now {
            struct_size: 16,
            first: 7,
            second: 0,
        };
        // SAFETY: the struct has the sixteen bytes that it says.
        unsafe {
            let known = read((&raw const later).cast::<Then>());
            assert_eq!(known.map(|then| then.first), Ok(7));
            later.second = 1 << 63;
            let refused = read((&raw const later).cast::<Then>());
            assert_eq!(refused, Err(PunktfunkStatus::Unsupported));
            let told = Then {
                struct_size: 8,
                first: 9,
            };
            assert_eq!(write((&raw mut later).cast::<Then>(), &told), Ok(()));
        }
        let zeroed = Now {
            struct_size: 16,
            first: 9,
            second: 0,
        };
        assert_eq!(later, zeroed);
    }

    #[test]
    fn a_size_that_no_struct_has_is_refused_before_anything_is_read() {
        for bytes in [0, 7, MAX_BYTES as u32 + 1, u32::MAX] {
            let mut size = bytes;
            let value = Then {
                struct_size: 8,
                first: 1,
            };
            // SAFETY: there are the four bytes of the size, and no more are touched.
            unsafe {
                let refused = Err(PunktfunkStatus::InvalidArg);
                assert_eq!(read((&raw const size).cast::<Then>()), refused);
                let refused = Err(PunktfunkStatus::InvalidArg);
                assert_eq!(write((&raw mut size).cast::<Then>(), &value), refused);
            }
        }
        // SAFETY: NULL is what is tested.
        unsafe {
            let none = Err(PunktfunkStatus::NullPointer);
            assert_eq!(read(std::ptr::null::<Then>()), none);
        }
    }
}
