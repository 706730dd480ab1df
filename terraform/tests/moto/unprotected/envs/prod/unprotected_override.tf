module "platform" {
  protected = false
}
