use std::cell::{Cell, RefCell};

use tokio::time::sleep;

use super::*;

/// What an upstream does: after how many milliseconds, and what.
type Script = (u64, Result<u16, AskError>);

const SILENT: Script = (2000, Err(AskError::Timeout));
const REFUSES: Script = (0, Err(AskError::Closed));
const HEDGED: Bounds = Bounds { attempts: 4, hedge: Some(Duration::from_millis(500)) };
const IN_TURN: Bounds = Bounds { attempts: 4, hedge: None };

/// Upstreams that play scripts. A reply of 2 (SERVFAIL) is passed over.
struct Players<'a> {
    scripts: &'a [Script],
    start: Instant,
    asked: RefCell<Vec<(usize, u64)>>,
    /// Milliseconds after which all are late.
    late: Option<u64>,
    /// How often one may hurry.
    budget: Cell<usize>,
}

impl Upstreams for Players<'_> {
    type Reply = u16;

    fn ask(&self, upstream: usize) -> impl Future<Output = Result<u16, AskError>> + Send {
        self.asked.borrow_mut().push((upstream, self.start.elapsed().as_millis() as u64));
        let (after, result) = self.scripts[upstream].clone();
        async move {
            sleep(Duration::from_millis(after)).await;
            result
        }
    }

    fn pass_over(&self, reply: &u16) -> bool {
        *reply == 2
    }

    fn late_after(&self, _: usize) -> Option<Duration> {
        self.late.map(Duration::from_millis)
    }

    fn may_hurry(&self) -> bool {
        let left = self.budget.get();
        self.budget.set(left.saturating_sub(1));
        left > 0
    }
}

/// Runs `scripts` in order; gives the outcome, the milliseconds it took, and who was asked when.
async fn play(
    scripts: &[Script],
    bounds: Bounds,
) -> (Result<u16, GivenUp>, u64, Vec<(usize, u64)>) {
    play_late(scripts, bounds, None, 0).await
}

/// The same with upstreams that are late after so many milliseconds, and so often company early.
async fn play_late(
    scripts: &[Script],
    bounds: Bounds,
    late: Option<u64>,
    budget: usize,
) -> (Result<u16, GivenUp>, u64, Vec<(usize, u64)>) {
    let (asked, budget) = (RefCell::default(), Cell::new(budget));
    let players = Players { scripts, start: Instant::now(), asked, late, budget };
    let order: Vec<usize> = (0..scripts.len()).collect();
    let outcome = run(&order, bounds, &players).await;
    (outcome, players.start.elapsed().as_millis() as u64, players.asked.into_inner())
}

#[tokio::test(start_paused = true)]
async fn one_that_is_later_than_usual_gets_company_early_as_long_as_the_budget_lasts() {
    let scripts = [SILENT, SILENT, (10, Ok(0))];
    let (outcome, took, asked) = play_late(&scripts, HEDGED, Some(40), 9).await;
    assert_eq!((outcome, took, asked), (Ok(0), 90, vec![(0, 0), (1, 40), (2, 80)]));
    let (outcome, took, asked) = play_late(&scripts, HEDGED, Some(40), 1).await;
    assert_eq!((outcome, took, asked), (Ok(0), 550, vec![(0, 0), (1, 40), (2, 540)]));
    let (outcome, took, asked) = play_late(&scripts[1..], HEDGED, Some(40), 0).await;
    assert_eq!((outcome, took, asked), (Ok(0), 510, vec![(0, 0), (1, 500)]));
    let (_, took, asked) = play_late(&[(30, Ok(0)), (1, Ok(0))], HEDGED, Some(40), 9).await;
    assert_eq!((took, asked), (30, vec![(0, 0)]), "it was not late");
    let (_, _, asked) = play_late(&scripts[1..], HEDGED, Some(900), 9).await;
    assert_eq!(asked, vec![(0, 0), (1, 500)], "never later than the bound says");
    let (_, _, asked) = play_late(&scripts[1..], IN_TURN, Some(40), 9).await;
    assert_eq!(asked, vec![(0, 0), (1, 2000)], "nor at all in turn");
}

#[tokio::test(start_paused = true)]
async fn a_quick_reply_is_the_only_attempt() {
    let (outcome, took, asked) = play(&[(30, Ok(0)), (10, Ok(3))], HEDGED).await;
    assert_eq!((outcome, took, asked), (Ok(0), 30, vec![(0, 0)]));
}

#[tokio::test(start_paused = true)]
async fn a_silent_upstream_gets_company_and_the_first_reply_counts() {
    let (outcome, took, asked) = play(&[SILENT, (10, Ok(0))], HEDGED).await;
    assert_eq!((outcome, took, asked), (Ok(0), 510, vec![(0, 0), (1, 500)]));
    let (outcome, took, _) = play(&[(600, Ok(0)), (1000, Ok(3))], HEDGED).await;
    assert_eq!((outcome, took), (Ok(0), 600), "the slow one may still win");
}

#[tokio::test(start_paused = true)]
async fn in_turn_the_second_is_asked_only_when_the_first_failed() {
    let (outcome, took, asked) = play(&[SILENT, (10, Ok(0))], IN_TURN).await;
    assert_eq!((outcome, took, asked), (Ok(0), 2010, vec![(0, 0), (1, 2000)]));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_moves_on_at_once_even_while_another_is_silent() {
    let (outcome, took, asked) = play(&[REFUSES, (10, Ok(0))], IN_TURN).await;
    assert_eq!((outcome, took, asked), (Ok(0), 10, vec![(0, 0), (1, 0)]));
    let (outcome, took, _) = play(&[SILENT, REFUSES, (10, Ok(0))], HEDGED).await;
    assert_eq!((outcome, took), (Ok(0), 510));
}

#[tokio::test(start_paused = true)]
async fn with_all_silent_the_failure_comes_before_a_client_gives_up() {
    for bounds in [HEDGED, IN_TURN, Bounds { attempts: MANY, hedge: None }] {
        for count in 1..5 {
            let scripts = vec![SILENT; count];
            let (outcome, took, _) = play(&scripts, bounds).await;
            assert_eq!(outcome.map_err(|given_up| given_up.error), Err(AskError::Timeout));
            assert!(took < 5000, "{count} upstreams, {bounds:?}: {took} ms");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn failed_attempts_are_bounded() {
    for (attempts, want) in [(1, vec![0]), (3, vec![0, 1, 0]), (4, vec![0, 1, 0, 1])] {
        let bounds = Bounds { attempts, ..HEDGED };
        let (outcome, took, asked) = play(&[REFUSES, REFUSES], bounds).await;
        assert_eq!(outcome.map_err(|given_up| given_up.error), Err(AskError::Closed));
        let asked: Vec<usize> = asked.into_iter().map(|(upstream, _)| upstream).collect();
        assert_eq!((asked, took), (want, 0));
    }
    let (_, took, asked) = play(&[SILENT, SILENT], Bounds { attempts: 1, ..HEDGED }).await;
    assert_eq!((took, asked), (2000, vec![(0, 0)]), "an attempt under way counts as well");
}

#[tokio::test(start_paused = true)]
async fn failover_passes_over_a_reply_only_while_somebody_else_may_have_a_better_one() {
    let (outcome, _, asked) = play(&[(5, Ok(2)), (5, Ok(3))], IN_TURN).await;
    assert_eq!((outcome, asked), (Ok(3), vec![(0, 0), (1, 5)]));
    let (outcome, _, asked) = play(&[(5, Ok(2)), (5, Ok(2))], IN_TURN).await;
    assert_eq!((outcome, asked.len()), (Ok(2), 2), "each is asked once");
    let (outcome, _, _) = play(&[(5, Ok(2)), REFUSES], Bounds { attempts: 1, ..IN_TURN }).await;
    assert_eq!(outcome, Ok(2), "better than no reply");
}
