//! Lists that mostly hold one item.
//!
//! A policy among a hundred thousand is in no cache when its request comes. What it demands is kept in one piece of memory, so that fetching
//! it is one wait and not one for each list.

use std::{
    fmt,
    ops::{Deref, DerefMut},
};

/// A list whose only item, if there is but one, lies within whatever holds the list.
#[derive(Clone)]
pub struct Few<T>(Items<T>);

#[derive(Clone)]
enum Items<T> {
    One([T; 1]),
    Others(Box<[T]>),
}

impl<T> Few<T> {
    /// This item alone.
    pub const fn one(item: T) -> Self {
        Self(Items::One([item]))
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.0 {
            Items::One(item) => item,
            Items::Others(items) => items,
        }
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.0 {
            Items::One(item) => item,
            Items::Others(items) => items,
        }
    }
}

impl<T> From<Vec<T>> for Few<T> {
    fn from(items: Vec<T>) -> Self {
        Self(items.try_into().map_or_else(|items: Vec<T>| Items::Others(items.into()), Items::One))
    }
}

impl<T, const N: usize> From<[T; N]> for Few<T> {
    fn from(items: [T; N]) -> Self {
        Vec::from(items).into()
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        // One that ends at an error would go on behind it.
        let mut items = items.into_iter().fuse();
        match (items.next(), items.next()) {
            (Some(only), None) => Self::one(only),
            (first, second) => first.into_iter().chain(second).chain(items).collect::<Vec<T>>().into(),
        }
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl<'f, T> IntoIterator for &'f Few<T> {
    type Item = &'f T;
    type IntoIter = std::slice::Iter<'f, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: PartialEq> PartialEq for Few<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq> Eq for Few<T> {}

impl<T: fmt::Debug> fmt::Debug for Few<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_first_error_nothing_more_is_asked() {
        for count in 1..4 {
            let mut asked = 0;
            let errors = (0..count).map(|number| {
                asked += 1;
                Err::<(), _>(number)
            });
            assert_eq!((errors.collect::<Result<Few<()>, usize>>(), asked), (Err(0), 1));
        }
    }

    #[test]
    fn holds_what_it_is_made_of() {
        for count in 0..4_usize {
            let items: Vec<usize> = (0..count).collect();
            let few: Few<usize> = items.iter().copied().collect();
            assert_eq!(*few, items);
            assert_eq!(matches!(few.0, Items::One(_)), count == 1);
            assert_eq!(matches!(Few::from(items.clone()).0, Items::One(_)), count == 1);
            assert_eq!((&few).into_iter().copied().collect::<Vec<_>>(), items);
            assert_eq!(format!("{few:?}"), format!("{items:?}"));
            assert!(few == Few::from(items.clone()) && few != Few::from(vec![7; 5]));
            let mut changed = few.clone();
            changed.iter_mut().for_each(|item| *item += 1);
            assert_eq!(*changed, items.iter().map(|item| item + 1).collect::<Vec<_>>());
        }
        assert_eq!(*Few::from([1, 2]), [1, 2]);
        assert_eq!(Few::<usize>::default().len(), 0);
    }
}
