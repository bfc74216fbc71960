//! The questions: a fixed mix over a made cluster, in dnsperf's form.

use crate::cluster::{Cluster, MadeService};

/// A small generator, so that every run asks the same questions (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

/// What a cluster's clients ask: 60 % ClusterIP A, 10 % AAAA, 20 % names that a search path makes
/// (NXDOMAIN), 5 % SRV, 5 % headless A. One `NAME TYPE` a line.
pub fn cluster_mix(cluster: &Cluster, count: usize) -> String {
    let mut numbers = Numbers(1);
    let with_ip: Vec<MadeService> = cluster.iter().filter(|s| !s.is_headless()).collect();
    let headless: Vec<MadeService> = cluster.iter().filter(|s| s.is_headless()).collect();
    let mut text = String::new();
    for _ in 0..count {
        let kind = numbers.below(100);
        let any = |numbers: &mut Numbers, of: &[MadeService]| of[numbers.below(of.len())].domain();
        let line = match kind {
            0..60 => format!("{} A", any(&mut numbers, &with_ip)),
            60..70 => format!("{} AAAA", any(&mut numbers, &with_ip)),
            70..90 => {
                let (host, namespace) = (numbers.below(1000), numbers.below(20));
                format!("www{host}.example.com.ns{namespace}.svc.cluster.local A")
            }
            90..95 => format!("_http._tcp.{} SRV", any(&mut numbers, &with_ip)),
            _ => format!("{} A", any(&mut numbers, &headless)),
        };
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// Names of a zone elsewhere, answered from the cache after the first time.
pub fn outside_mix(names: usize, count: usize) -> String {
    let mut numbers = Numbers(2);
    (0..count).map(|_| format!("host{}.example.com A\n", numbers.below(names))).collect()
}

/// Names below `blocked.test` and names in `corp.test`, one after the other.
pub fn local_mix(names: usize, count: usize) -> String {
    let mut numbers = Numbers(3);
    let line = |number: usize| {
        let host = numbers.below(names);
        match number % 2 {
            0 => format!("www{host}.ads.blocked.test A\n"),
            _ => format!("host{host}.corp.test A\n"),
        }
    };
    (0..count).map(line).collect()
}

/// The zone that [`outside_mix`] asks for, in unbound's `local-data` form.
pub fn outside_zone(names: usize) -> String {
    (0..names)
        .map(|n| {
            format!("  local-data: \"host{n}.example.com. 3600 IN A 192.0.2.{}\"\n", n % 250 + 1)
        })
        .collect()
}
