"""What the formats of office programs share: ZIP archives of XML parts, names, charts, equations, properties, sheets.

What stays true: nothing here knows which format it serves, and none of the formats' packages is imported.
"""
