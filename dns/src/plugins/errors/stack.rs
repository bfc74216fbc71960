//! The stack of a panic: kept by a hook on the thread that panics, until it is logged where the panic
//! is caught. That is on the same thread, before anything else runs there.

use std::{any::Any, backtrace::Backtrace, cell::RefCell, panic, sync::Once};

use super::ErrorLog;
use crate::plugins::debug;

/// Most bytes of a stack that are logged; what is nearest to the panic comes first.
const MOST: usize = 16 << 10;

thread_local! {
    static STACK: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps the stack of every panic from now on, besides what is done about panics already.
pub fn keep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            before(info);
            let mut stack = Backtrace::force_capture().to_string();
            stack.truncate(stack.floor_char_boundary(MOST));
            // A thread that is ending has no place for it any more.
            let _ = STACK.try_with(|kept| kept.replace(Some(stack)));
        }));
    });
}

/// What to log of a panic that was caught on this thread just now: its message, and its stack if
/// `errors` or `debug` asks for it.
pub fn told(panic: &(dyn Any + Send), errors: Option<&ErrorLog>) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    let wanted = errors.is_some_and(|errors| errors.stacktrace) || debug::is_on();
    let stack = STACK.take().filter(|_| wanted);
    match stack {
        Some(stack) => format!("{text}\n{stack}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;

    use futures::FutureExt;

    use super::*;
    use crate::plugins::errors::config::Config;

    #[inline(never)]
    fn falls_over(why: &str) {
        panic!("on purpose, {why}");
    }

    #[tokio::test]
    async fn the_stack_of_a_panic_is_told_where_errors_asks_for_it() {
        let log = |stacktrace| ErrorLog::new(&Config { stacktrace, consolidate: Vec::new() });
        let (plain, with_stack) = (log(false), log(true));
        for (errors, wants_stack) in
            [(Some(&with_stack), true), (Some(&plain), false), (None, false)]
        {
            let future = AssertUnwindSafe(async { falls_over("in a test") });
            let caught = future.catch_unwind().await.unwrap_err();
            let said = told(&*caught, errors);
            assert!(said.starts_with("on purpose, in a test"), "{said}");
            assert_eq!(said.contains("falls_over"), wants_stack, "{said}");
        }
    }
}
