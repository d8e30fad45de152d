"""Archives with members of any name and kind, for tests of what is made of them."""

import io
import tarfile
import zipfile


def tar(path, *members, mode="w"):
    """A tar of (name, content or a keyword of TarInfo)."""
    with tarfile.open(path, mode) as opened:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
                opened.addfile(member, io.BytesIO(content))
            else:
                for key, value in content.items():
                    setattr(member, key, value)
                opened.addfile(member)
    return path


def packed_zip(path, *members, compression=zipfile.ZIP_DEFLATED):
    """A .zip of (name, content) or (name, content, mode of the file)."""
    with zipfile.ZipFile(path, "w", compression) as opened:
        for name, content, *mode in members:
            info = zipfile.ZipInfo("x")
            info.filename, info.compress_type = name, compression
            info.external_attr = (mode[0] if mode else 0) << 16
            opened.writestr(info, content)
    return path
