"""The API's operations: one file per subject, each operation declared once, beside its handler."""
