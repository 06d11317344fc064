"""Common ground of office programs' formats: ZIP archives of XML parts, names, charts, equations, properties, numbers.

What stays true: nothing here knows which format it serves, and none of the formats' packages is imported.
"""
