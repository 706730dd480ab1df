provider "aws" {
  max_retries = 2
}
