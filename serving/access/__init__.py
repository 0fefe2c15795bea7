"""Who may call what: TLS, tokens, client certificates, and the role that each method needs."""
