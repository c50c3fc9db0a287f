//! The program: reads its arguments, does what they say, and ends with an exit code that says how it went.

fn main() {
    tidegate::commands::main()
}
