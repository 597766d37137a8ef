//! Alarms, sent by real programs to real targets: targets that misbehave, storms, encrypted mail, and `pinion notify test`.

mod hostile;
mod notify_test;
mod site;
mod storm;
