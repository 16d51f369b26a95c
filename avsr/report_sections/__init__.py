"""The sections of the report page, each a function from data to an HTML string; text is escaped."""
