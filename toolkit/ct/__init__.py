"""CT volumes: a DICOM series or a NIfTI file to Hounsfield units in patient order, and what a mask measures in them.

What needs pydicom or nibabel imports them when it is called: they come with ``pip install 'cv-toolkit[ct]'``.
"""
