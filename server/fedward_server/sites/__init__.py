"""Sites: hospitals that were invited, have enrolled, report themselves and answer whether they take part in runs."""
