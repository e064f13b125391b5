mod calc;
mod join_support;
mod rank;
