# A Homebrew formula, for a tap: `brew install OWNER/TAP/turboprop-local`. At a release, set `homepage`, and `url` and
# `sha256` to those of the source archive on the package index, and let `brew update-python-resources turboprop-local`
# write the resources; until then its `sha256` is of nothing. It is untried: no Homebrew has read it.
class TurbopropLocal < Formula
  include Language::Python::Virtualenv

  desc "Search code by meaning and by words, and run models, on your own machine"
  homepage "https://pypi.org/project/turboprop-local/"
  url "https://files.pythonhosted.org/packages/source/t/turboprop_local/turboprop_local-0.1.0.tar.gz"
  sha256 "0000000000000000000000000000000000000000000000000000000000000000"
  license "Apache-2.0"

  depends_on "python@3.13"

  def install
    # The kernels are compiled with the system's compiler; other packages come as wheels.
    venv = virtualenv_create(libexec, "python3.13")
    system venv.root/"bin/python", "-m", "pip", "install", "#{buildpath}[minilm]"
    bin.install_symlink libexec/"bin/tp"
    man1.install_symlink libexec/"share/man/man1/tp.1"
    bash_completion.install_symlink libexec/"share/bash-completion/completions/tp"
    zsh_completion.install_symlink libexec/"share/zsh/site-functions/_tp"
    fish_completion.install_symlink libexec/"share/fish/vendor_completions.d/tp.fish"
  end

  test do
    (testpath/"a.py").write "def load_settings(path):\n    return open(path).read()\n"
    system bin/"tp", "index"
    assert_match "load_settings", shell_output("#{bin}/tp search --no-server load settings")
  end
end
