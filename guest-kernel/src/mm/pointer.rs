//! Addresses in a program, as its system calls give them.

use core::marker::PhantomData;

/// An address in the program: a claim until it is copied through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UserAddr(pub u64);

impl UserAddr {
    /// Whether it is NULL.
    pub fn is_null(self) -> bool {
        self.0 == 0
    }
    /// The address `bytes` further on; wraps like C.
    pub fn offset(self, bytes: u64) -> UserAddr {
        UserAddr(self.0.wrapping_add(bytes))
    }
}

/// Address of a `T` (or an array of them) in the program.
pub struct UserPtr<T> {
    addr: UserAddr,
    kind: PhantomData<fn() -> T>,
}

impl<T> Clone for UserPtr<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for UserPtr<T> {}

impl<T> UserPtr<T> {
    /// A `T` at `addr`.
    pub fn new(addr: u64) -> Self {
        UserPtr {
            addr: UserAddr(addr),
            kind: PhantomData,
        }
    }
    /// The address.
    pub fn addr(self) -> u64 {
        self.addr.0
    }
    /// Whether it is NULL.
    pub fn is_null(self) -> bool {
        self.addr.is_null()
    }
    /// `None` for NULL.
    pub fn non_null(self) -> Option<Self> {
        (!self.is_null()).then_some(self)
    }
    /// The `index`th element of an array.
    pub fn at(self, index: usize) -> Self {
        let step = (size_of::<T>() as u64).wrapping_mul(index as u64);
        UserPtr {
            addr: self.addr.offset(step),
            kind: PhantomData,
        }
    }
    /// The same address as a pointer to `U`.
    pub fn cast<U>(self) -> UserPtr<U> {
        UserPtr {
            addr: self.addr,
            kind: PhantomData,
        }
    }
}
