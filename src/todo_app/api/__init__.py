"""What can be asked of the service: one file a subject, each operation declared once, beside its handler."""
