//! Loads the programs into the kernel and prints how many instructions the verifier looked at for
//! each, a line `NAME COUNT` each. Needs root; nothing is attached, and nothing stays.

use daymark_loader::kernel::verified_instructions;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for (name, count) in verified_instructions()? {
        println!("{name} {count}");
    }
    Ok(())
}
