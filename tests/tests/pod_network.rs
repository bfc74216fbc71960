//! Who reaches whom in a lab, by what, and from which address: every cell of the matrix in
//! `tests/pod_network/matrix.yaml`.

mod pod_network {
    pub(crate) mod matrix;
    pub(crate) mod probe;
}

use std::{process::ExitCode, sync::Arc};

use anyhow::{Context, ensure};
use daymark_tests::{lab::Lab, suite::Suite};

use self::pod_network::{
    matrix::{self, Cell, Place, Rule, Sees},
    probe,
};

/// Three pods on two nodes, of both families.
fn definition(routing: &str) -> String {
    format!(
        "kind: Lab\nmetadata: {{name: {routing}}}\nspec:\n  routing: {routing}\n  nodes:\n  - {{name: n1, podCIDRs: \
         [10.244.1.0/24, 'fd00:10:244:1::/64']}}\n  - {{name: n2, podCIDRs: [10.244.2.0/24, \
         'fd00:10:244:2::/64']}}\n---\nkind: Pod\nmetadata: {{name: pod}}\nspec: {{nodeName: n1}}\n---\n\
         kind: Pod\nmetadata: {{name: neighbour}}\nspec: {{nodeName: n1}}\n---\nkind: Pod\nmetadata: {{name: \
         remote}}\nspec: {{nodeName: n2}}\n"
    )
}

fn main() -> ExitCode {
    Suite::run("the pod network is up", |suite| {
        if let Some(reason) = Lab::unavailable() {
            suite.skipped("who reaches whom", &reason);
            return Ok(());
        }
        let rules = Arc::new(matrix::rules()?);
        for routing in ["native", "vxlan"] {
            let lab = Arc::new(Lab::up(&definition(routing))?);
            // From outside, pods are reached by way of their nodes.
            for (node, index) in [("n1", 0), ("n2", 1)] {
                let via = daymark_lab::wire::Addresses::of_node(index);
                let (v4, v6) = (via.v4.to_string(), via.v6.to_string());
                let [v4_range, v6_range] = [
                    format!("10.244.{}.0/24", index + 1),
                    format!("fd00:10:244:{}::/64", index + 1),
                ];
                lab.run("outside", &["ip", "route", "add", &v4_range, "via", &v4])
                    .with_context(|| format!("a route to {node}"))?;
                lab.run("outside", &["ip", "-6", "route", "add", &v6_range, "via", &v6])?;
            }
            for cell in matrix::cells(routing) {
                let (lab, rules) = (Arc::clone(&lab), Arc::clone(&rules));
                suite.trial(cell.to_string(), move || {
                    check(&lab, &rules, &cell).map_err(|error| format!("{error:#}").into())
                });
            }
            suite.keep(lab);
        }
        Ok(())
    })
}

fn check(lab: &Lab, rules: &[Rule], cell: &Cell) -> anyhow::Result<()> {
    let rule = rules.iter().find(|rule| rule.fits(cell)).context("no rule fits this cell")?;
    let sees = match (&rule.sees, &rule.impossible) {
        (Some(sees), None) => *sees,
        // The reason is for whoever reads the file.
        (None, Some(_)) => return Ok(()),
        _ => anyhow::bail!("a rule has either `sees` or `impossible`"),
    };
    let address = address(lab, cell.target, cell.ipv4)?;
    let wanted = match sees {
        Sees::Own => self::address(lab, cell.source, cell.ipv4)?,
        Sees::Node => self::address(lab, cell.source.node(), cell.ipv4)?,
        Sees::Gateway => gateway(cell.source.node(), cell.ipv4)?,
    };
    let seen = probe::seen(lab, cell.probe, cell.source.name(), cell.target.name(), address)?;
    ensure!(seen == wanted, "the target saw {seen}, not {wanted}");
    Ok(())
}

/// The address that a node has in the range of its pods.
fn gateway(node: Place, ipv4: bool) -> anyhow::Result<std::net::IpAddr> {
    let number = if node == Place::Node { 1 } else { 2 };
    let text = match ipv4 {
        true => format!("10.244.{number}.1"),
        false => format!("fd00:10:244:{number}::1"),
    };
    Ok(text.parse()?)
}

/// The address of a place.
fn address(lab: &Lab, place: Place, ipv4: bool) -> anyhow::Result<std::net::IpAddr> {
    let of = |found: daymark_lab::wire::Addresses| match ipv4 {
        true => found.v4.into(),
        false => found.v6.into(),
    };
    Ok(match place {
        Place::Pod | Place::Neighbour | Place::Remote => lab.address(place.name(), ipv4)?,
        Place::Node => of(daymark_lab::wire::Addresses::of_node(0)),
        Place::Far => of(daymark_lab::wire::Addresses::of_node(1)),
        Place::Outside => of(daymark_lab::wire::OUTSIDE),
    })
}
