//! How much is done: bytes read, matches followed, candidates judged. Tests bound it, so that
//! no text can cost more than its length allows.

#[cfg(test)]
thread_local! {
    static STEPS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Notes so many steps: a byte that is looked at, a match that is followed or a candidate that
/// is judged. Nothing but a test counts them.
#[inline]
pub(super) fn spend(steps: usize) {
    #[cfg(test)]
    STEPS.with(|count| count.set(count.get() + steps));
    #[cfg(not(test))]
    let _ = steps;
}

/// The steps that `work` took.
#[cfg(test)]
pub(super) fn spent(work: impl FnOnce()) -> usize {
    STEPS.with(|steps| steps.set(0));
    work();
    STEPS.with(std::cell::Cell::get)
}
