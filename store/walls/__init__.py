"""The second wall between tenants: PostgreSQL's row-level security, and the roles that it binds.

What stays true: a role that does not own the tables sees and writes the rows of the tenant that its transaction
names, and without a name none; the owner, who migrates, is not bound, and pays nothing. SQLite has neither.
"""
