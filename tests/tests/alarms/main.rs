//! Who is told of alarms, by real programs: targets that misbehave, storms, encrypted mail, and `pinion notify test`.

mod hostile;
mod notify_test;
mod site;
mod storm;
