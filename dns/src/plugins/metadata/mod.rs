//! Labels of a query for other plugins. See README.md for what its directive may say.

pub mod config;

#[cfg(test)]
mod cases {
    #[test]
    fn every_row_of_the_table_is_accepted_or_refused_as_it_says() {
        crate::corefile::tests::cases::check_plugin(include_str!("cases.txt"));
    }
}
