//! `cargo xtask soak dns`: ten minutes of what goes wrong in a cluster, and every answer judged.
//!
//! Services change all the time; the API server, the upstream and for the first half the server itself
//! are killed or stopped and come back, the Corefile is read anew. Wrong is an answer that was never
//! true, that is older than one given before, or that is old although everything has been well for a
//! while. In the second half the server lives on, and its memory has to stay what it is.

mod scene;
mod truth;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Parser;
use daymark_bench::measure;

use self::{
    scene::{Scene, Trouble},
    truth::Truth,
};

/// Askers at once.
const ASKERS: usize = 2;
/// Memory may grow by so much between the middle and the end.
const GROWTH: f64 = 1.15;

#[derive(Debug, Parser)]
struct Arguments {
    /// Minutes that it takes.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Seconds between two troubles.
    #[arg(long, default_value_t = 12)]
    every: u64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let whole = Duration::from_secs_f64(arguments.minutes * 60.0);
    let scene = Scene::start()?;
    let truth = Arc::new(Truth::default());
    let over = AtomicBool::new(false);
    let begun = Instant::now();
    let mut memory: Vec<(f64, f64)> = Vec::new();
    std::thread::scope(|scope| -> anyhow::Result<()> {
        scope.spawn(|| scene.keep_changing(&truth, &over));
        for seed in 0..ASKERS {
            let (scene, truth, over) = (&scene, &truth, &over);
            scope.spawn(move || scene.keep_asking(truth, over, seed as u64 + 1));
        }
        let outcome = (|| {
            for number in 0.. {
                let next = Duration::from_secs(arguments.every) * (number + 1);
                if next >= whole {
                    break;
                }
                while begun.elapsed() < next {
                    let rss = measure::rss_mib(scene.server_id())?;
                    memory.push((begun.elapsed().as_secs_f64(), rss));
                    std::thread::sleep(Duration::from_secs(2));
                }
                let half = begun.elapsed() > whole / 2;
                let trouble = Trouble::number(number as usize, half);
                println!("{:6.1} s: {trouble:?}", begun.elapsed().as_secs_f64());
                scene.make(trouble, &truth)?;
            }
            Ok(())
        })();
        over.store(true, Ordering::Relaxed);
        outcome
    })?;
    report(&truth, &memory, whole)
}

fn report(truth: &Truth, memory: &[(f64, f64)], whole: Duration) -> anyhow::Result<()> {
    print!("{}", truth.report());
    // Just after the last start of the server the heap still settles.
    let settled = whole.as_secs_f64() * 0.6;
    let later: Vec<f64> = memory.iter().filter(|(at, _)| *at > settled).map(|(_, m)| *m).collect();
    let (early, late) = later.split_at(later.len() / 2);
    let most = |part: &[f64]| part.iter().copied().fold(0.0, f64::max);
    let (early, late) = (most(early), most(late));
    println!("RSS, most: {early:.1} MiB from 60 to 80 % of the time, {late:.1} MiB after that");
    anyhow::ensure!(truth.wrong() == 0, "there were wrong answers");
    anyhow::ensure!(late <= early * GROWTH, "memory grows");
    Ok(())
}
