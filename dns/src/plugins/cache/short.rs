//! The cache on the short way: one lookup, one copy, no message object.

use super::{
    config::Refresh,
    entry::Age,
    key::{Bits, Key},
    plugin::Cache,
};
use crate::{
    plugins::kubernetes::wire::Asked,
    server::short::{AnswerShort, Short},
};

impl AnswerShort for Cache {
    fn answer(&self, out: &mut [u8], asked: &Asked<'_>) -> Short {
        let core = &*self.0;
        if !core.takes(asked.name) {
            return Short::Long;
        }
        let key = Key::new(asked.name, asked.plain.qtype, bits(asked));
        let now = (core.clock)();
        let Some(found) = core.store.find(key.as_bytes(), now) else { return Short::Long };
        if asked.renamed && !found.entry.is_renameable() {
            return Short::Long;
        }
        let stale = matches!(found.age, Age::Expired(_));
        // Upstream has to be asked first.
        let verify =
            || core.config.stale.as_ref().is_some_and(|stale| stale.refresh != Refresh::Immediate);
        if stale && verify() {
            return Short::Long;
        }
        let extended_error = found.entry.extended_error(found.age);
        let Some(written) = found.entry.write(out, asked, core.ttl(&found), extended_error) else {
            return Short::Long;
        };
        core.counts.hit(found.side, stale);
        match core.is_due(&found, now) && found.entry.want_renewal(now) {
            true => Short::AnsweredRefresh(written),
            false => Short::Answered(written),
        }
    }
}

fn bits(asked: &Asked<'_>) -> Bits {
    // A plain question has a whole header.
    let flag = |octet: usize, mask: u8| asked.message[octet] & mask != 0;
    Bits {
        dnssec_ok: asked.plain.edns.is_some_and(|edns| edns.dnssec_ok),
        checking_disabled: flag(3, 0x10),
        recursion_desired: flag(2, 0x01),
    }
}
