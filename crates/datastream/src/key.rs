//! Keys: what makes records belong together.
//!
//! Invariant: the hash of a key is that of the same value in SQL (`dataflow::key_group` gives the canonical bytes), so both ways
//! to write a job send a key to the same subtask.

use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::Arc;

use streamkeeper_dataflow::batch::{Either, Records};
use streamkeeper_dataflow::key_group::{self, fold, hash_bytes, hash_i64, hash_i128};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use crate::Data;
use crate::state::StateBackend;

/// A value whose key group never changes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key",
    label = "not a key",
    note = "keys are integers, `bool`, `char`, `String`, `Vec<u8>`, `Option`s and tuples of those: give several fields as a tuple, and an owned value instead of a reference"
)]
pub trait KeyHash: Eq + Ord + Hash {
    /// The stable hash: see `dataflow::key_group`.
    fn key_hash(&self) -> u64;
}

/// A key as it is kept in state.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key",
    label = "not a key",
    note = "keys are integers, `bool`, `char`, `String`, `Vec<u8>`, `Option`s and tuples of those: give several fields as a tuple, and an owned value instead of a reference"
)]
pub trait Key: KeyHash + Data {}

impl<K: KeyHash + Data> Key for K {}

macro_rules! integers {
    ($($t:ty),*) => {$(
        impl KeyHash for $t {
            #[inline]
            fn key_hash(&self) -> u64 {
                hash_i64(i64::from(*self))
            }
        }
    )*};
}
integers!(i8, i16, i32, i64, u8, u16, u32, bool);

impl KeyHash for u64 {
    #[inline]
    fn key_hash(&self) -> u64 {
        hash_i64(*self as i64)
    }
}

impl KeyHash for usize {
    #[inline]
    fn key_hash(&self) -> u64 {
        hash_i64(*self as i64)
    }
}

impl KeyHash for i128 {
    #[inline]
    fn key_hash(&self) -> u64 {
        hash_i128(*self)
    }
}

impl KeyHash for char {
    #[inline]
    fn key_hash(&self) -> u64 {
        hash_i64(i64::from(u32::from(*self)))
    }
}

impl KeyHash for () {
    #[inline]
    fn key_hash(&self) -> u64 {
        0
    }
}

impl KeyHash for str {
    #[inline]
    fn key_hash(&self) -> u64 {
        hash_bytes(self.as_bytes())
    }
}

impl KeyHash for String {
    #[inline]
    fn key_hash(&self) -> u64 {
        hash_bytes(self.as_bytes())
    }
}

impl KeyHash for [u8] {
    #[inline]
    fn key_hash(&self) -> u64 {
        hash_bytes(self)
    }
}

impl KeyHash for Vec<u8> {
    #[inline]
    fn key_hash(&self) -> u64 {
        hash_bytes(self)
    }
}

impl<K: KeyHash> KeyHash for Option<K> {
    #[inline]
    fn key_hash(&self) -> u64 {
        self.as_ref().map_or(0, KeyHash::key_hash)
    }
}

macro_rules! tuples {
    ($($name:ident)+) => {
        impl<$($name: KeyHash),+> KeyHash for ($($name,)+) {
            #[inline]
            #[expect(non_snake_case, reason = "a type and its value share a name")]
            fn key_hash(&self) -> u64 {
                let ($($name,)+) = self;
                let hash = 0;
                $(let hash = fold(hash, $name.key_hash());)+
                hash
            }
        }
    };
}
tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);

/// Gives a record its key.
pub trait KeySelector<T>: Clone + Send + Sync + 'static {
    /// The key, as it is kept in state.
    type Key: Key + Borrow<Self::Borrowed>;
    /// The key, as it is looked up.
    type Borrowed: ?Sized + KeyHash + ToOwned<Owned = Self::Key>;

    /// Calls `with` with the key of `value`.
    fn with<R>(&self, value: &T, with: impl FnOnce(&Self::Borrowed) -> R) -> R;
}

/// A function that returns the key.
#[derive(Clone)]
pub struct KeyFn<F>(pub(crate) F);

impl<T, K: Key, F> KeySelector<T> for KeyFn<F>
where
    F: Fn(&T) -> K + Clone + Send + Sync + 'static,
{
    type Key = K;
    type Borrowed = K;

    #[inline]
    fn with<R>(&self, value: &T, with: impl FnOnce(&K) -> R) -> R {
        with(&(self.0)(value))
    }
}

/// A function that returns a reference to the key in the record.
pub struct KeyRef<F, Q: ?Sized>(pub(crate) F, pub(crate) std::marker::PhantomData<fn() -> Box<Q>>);

impl<F: Clone, Q: ?Sized> Clone for KeyRef<F, Q> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), self.1)
    }
}

impl<T, Q, F> KeySelector<T> for KeyRef<F, Q>
where
    Q: ?Sized + KeyHash + ToOwned + 'static,
    Q::Owned: Key,
    F: Fn(&T) -> &Q + Clone + Send + Sync + 'static,
{
    type Key = Q::Owned;
    type Borrowed = Q;

    #[inline]
    fn with<R>(&self, value: &T, with: impl FnOnce(&Q) -> R) -> R {
        with((self.0)(value))
    }
}

/// Makes the key of a record the current key of a state backend.
pub trait CurrentKey<T>: Clone + Send + Sync + 'static {
    /// The key, as it is kept in state.
    type Key: Key;

    /// Makes the key of `value` the current one. Returns it as it is kept, and its key group.
    ///
    /// # Errors
    /// When the subtask does not own the key group.
    fn enter<'a>(
        &self,
        value: &T,
        backend: &'a mut StateBackend<Self::Key>,
    ) -> OperatorResult<(&'a Self::Key, u16)>;
}

impl<T, S: KeySelector<T>> CurrentKey<T> for S
where
    S::Key: Sync,
{
    type Key = S::Key;

    #[inline]
    fn enter<'a>(
        &self,
        value: &T,
        backend: &'a mut StateBackend<S::Key>,
    ) -> OperatorResult<(&'a S::Key, u16)> {
        self.with(value, |key| {
            let key_group = backend.key_group(key.key_hash());
            backend.set_current_key(key_group, key).map(|kept| (kept, key_group))
        })
    }
}

/// The selectors of two inputs with the same keys.
#[derive(Clone)]
pub struct BothKeys<S1, S2>(pub(crate) S1, pub(crate) S2);

impl<A, B, S1, S2> CurrentKey<Either<A, B>> for BothKeys<S1, S2>
where
    S1: CurrentKey<A>,
    S2: CurrentKey<B, Key = S1::Key>,
{
    type Key = S1::Key;

    #[inline]
    fn enter<'a>(
        &self,
        value: &Either<A, B>,
        backend: &'a mut StateBackend<S1::Key>,
    ) -> OperatorResult<(&'a S1::Key, u16)> {
        match value {
            Either::First(value) => self.0.enter(value, backend),
            Either::Second(value) => self.1.enter(value, backend),
        }
    }
}

/// Hashes the keys of a batch, for the exchange.
struct HashKeys<S>(S);

impl<T: 'static, S: KeySelector<T>> key_group::KeySelector<Records<T>> for HashKeys<S> {
    fn hash(&self, batch: &Records<T>, hashes: &mut Vec<u64>) -> Result<(), OperatorError> {
        hashes.clear();
        hashes.extend(batch.values.iter().map(|value| self.0.with(value, KeyHash::key_hash)));
        Ok(())
    }
}

/// The exchange by the keys that `selector` gives.
pub(crate) fn exchange<T: 'static, S: KeySelector<T>>(
    selector: &S,
) -> Arc<dyn key_group::KeySelector<Records<T>>> {
    Arc::new(HashKeys(selector.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_sql_and_never_change() {
        assert_eq!(7i32.key_hash(), hash_i64(7));
        assert_eq!(true.key_hash(), hash_i64(1));
        assert_eq!("EWR".key_hash(), hash_bytes(b"EWR"));
        assert_eq!(String::from("EWR").key_hash(), "EWR".key_hash());
        assert_eq!(None::<i64>.key_hash(), 0);
        assert_eq!(("a".to_owned(), 2u8).key_hash(), fold(fold(0, hash_bytes(b"a")), hash_i64(2)));
    }
}
