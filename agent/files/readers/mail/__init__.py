"""E-mail: messages as they travel (.eml, mbox) and as Outlook stores them (.msg), and invitations in them.

What stays true: no address that a mail names is asked for anything.
"""
